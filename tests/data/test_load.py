"""Every kind of source ends as the same thing: train and test rows with roles and class ids."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from warmstart.data import DataError, load_data


def texts_and_labels(data):
    return [(text, data.classes[label]) for text, label in zip(data.texts(), data.labels, strict=True)]


def test_folder_of_csv_files_keeps_its_splits(table, tmp_path):
    table("train.csv", 6), table("dev.csv", 4, start=10), table("test.csv", 2, start=20)
    splits = load_data(tmp_path)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (6, 4, 2)
    assert splits.classes == ("a", "b")
    assert splits.train.roles == {"text": "text", "label": "label"}
    assert texts_and_labels(splits.test) == [("text 20", "a"), ("text 21", "b")]
    assert splits.train.table["label"].type == pa.int64()
    assert splits.warnings == []


def test_validation_split_is_the_test_split_where_there_is_none(table, tmp_path):
    table("train.csv", 6), table("valid.csv", 4, start=10)
    splits = load_data(tmp_path)
    assert splits.val is None
    assert len(splits.test) == 4
    assert "validation split" in splits.warnings[0]


def test_files_beside_the_splits_are_not_splits_and_are_named(table, tmp_path):
    table("train.csv", 6), table("test.csv", 2, start=10), table("oos_test.csv", 2, start=20)
    splits = load_data(tmp_path)
    assert len(splits.test) == 2
    assert "not read: oos_test.csv" in splits.warnings[0]


def test_csv_without_splits_is_divided_stratified_and_seeded(table):
    path = table(n=40)
    first, again, other = load_data(path, seed=1), load_data(path, seed=1), load_data(path, seed=2)
    assert np.bincount(first.test.labels).tolist() == [4, 4]
    assert len(first.train) == 32
    assert first.test.texts() == again.test.texts() != other.test.texts()
    assert not set(first.train.texts()) & set(first.test.texts())


def test_split_column_is_used(write):
    rows = ["text,label,split", "one,a,train", "two,b,train", "three,a,test", "four,b,validation", "five,a,extra"]
    splits = load_data(write("data.csv", rows))
    assert (splits.train.texts(), splits.val.texts(), splits.test.texts()) == (["one", "two"], ["four"], ["three"])
    assert any("1 rows of split 'extra' are not used" in line for line in splits.warnings)


def test_csv_cells_are_not_interpreted(write):
    rows = ["text,label", "NA,NA", "null,None", "1.50,007", "x,7", '"a, ""b""\nsecond line",nan', "y,N/A"]
    splits = load_data(write("data.csv", rows + rows[1:]), test_share=0.5)
    assert set(splits.classes) == {"NA", "None", "007", "7", "nan", "N/A"}
    assert set(splits.train.texts()) == {"NA", "null", "1.50", "x", 'a, "b"\nsecond line', "y"}


def test_empty_label_is_a_class_where_the_user_lists_it(write):
    path = write("data.csv", ["text,label", *[f"t{i},{['yes', ''][i % 2]}" for i in range(8)]])
    assert load_data(path, label_names=["", "yes"]).classes == ("", "yes")


@pytest.mark.parametrize("mark", [";", "\t"])
def test_semicolons_and_tabs_separate_too(write, mark):
    rows = [f"text{mark}label", *[f"t, {i}{mark}{'ab'[i % 2]}" for i in range(8)]]
    assert load_data(write("data.csv", rows)).train.texts()[0].startswith("t, ")


def test_byte_order_marks_are_no_part_of_the_header(write):
    text = "text,label\n" + "".join(f"é{i},{'ab'[i % 2]}\n" for i in range(8))
    for encoding in ("utf-8-sig", "utf-16"):
        assert load_data(write("data.csv", text.encode(encoding))).train.texts()[0].startswith("é")


def test_documents_longer_than_the_csv_module_allows(write):
    long = "word " * 40_000
    splits = load_data(write("data.csv", ["text,label", *[f"{long}{i},{'ab'[i % 2]}" for i in range(4)]]))
    assert len(splits.train.texts()[0]) > 190_000


def test_all_file_kinds_agree(write, tmp_path, save_npz):
    texts, labels = [f"text {i}" for i in range(12)], [i % 3 for i in range(12)]
    write("d.csv", ["text,label", *[f"{t},{y}" for t, y in zip(texts, labels, strict=True)]])
    write("d.jsonl", [json.dumps({"text": t, "label": y}) for t, y in zip(texts, labels, strict=True)])
    pq.write_table(pa.table({"text": texts, "label": [float(y) for y in labels]}), tmp_path / "d.parquet")
    save_npz("d.npz", text=np.array(texts), label=np.array(labels))
    loaded = [load_data(tmp_path / f"d.{kind}") for kind in ("csv", "jsonl", "parquet", "npz")]
    loaded.append(load_data(pa.table({"text": texts, "label": labels})))
    assert len({(tuple(one.train.texts()), tuple(one.train.labels), one.classes) for one in loaded}) == 1


def test_columns_of_unusual_names_are_named_by_the_user(write):
    path = write("d.csv", ["words,kind,fold", *[f"t{i},{'ab'[i % 2]},{i}" for i in range(8)]])
    assert load_data(path, text="words", label="kind").classes == ("a", "b")


def test_named_label_wins_over_the_usual_one(write):
    path = write("d.csv", ["text,label,fine_label", *[f"t{i},{i % 2},f{i % 4}" for i in range(16)]])
    assert load_data(path).classes == ("0", "1")
    assert load_data(path, label="fine_label").classes == ("f0", "f1", "f2", "f3")


def test_several_texts_have_a_role_each(write):
    path = write("d.csv", ["premise,hypothesis,label", *[f"p{i},h{i},{'ab'[i % 2]}" for i in range(8)]])
    for named in ("premise,hypothesis", ["premise", "hypothesis"]):
        train = load_data(path, text=named).train
        assert train.roles == {"text": "text", "text_2": "text", "label": "label"}
        assert train.texts("text_2")[0][1:] == train.texts("text")[0][1:]


def test_where_compares_as_text(write):
    path = write("d.csv", ["text,label,year", *[f"t{i},{'ab'[i % 2]},{2000 + i // 8}" for i in range(16)]])
    for where in ({"year": 2001}, "year=2001", ["year=2001"]):
        splits = load_data(path, where=where)
        assert {text for data in (splits.train, splits.test) for text in data.texts()} == {
            f"t{i}" for i in range(8, 16)
        }


def test_parquet_shards_are_one_split(tmp_path):
    for shard in range(2):
        rows = {"text": [f"t{shard}{i}" for i in range(4)], "label": [i % 2 for i in range(4)]}
        pq.write_table(pa.table(rows), tmp_path / f"train-0000{shard}-of-00002.parquet")
    splits = load_data(tmp_path)
    assert len(splits.train) + len(splits.test) == 8


def test_npz_with_given_splits_and_class_names(save_npz):
    images = np.arange(6 * 16, dtype=np.uint8).reshape(6, 4, 4)
    path = save_npz(
        x_train=images, y_train=np.arange(6) % 2, x_test=images[:2] + 100, y_test=[0, 1], class_names=["shirt", "shoe"]
    )
    splits = load_data(path)
    assert splits.classes == ("shirt", "shoe")
    assert splits.train.modality == "image"
    assert splits.train.image(1).shape == (4, 4, 3)
    np.testing.assert_array_equal(splits.train.image(1)[:, :, 2], images[1])


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.full((4, 5, 6), 0.5), (5, 6, 3, 128)),
        (np.full((4, 3, 5, 6), 7, np.uint8), (5, 6, 3, 7)),
        (np.full((4, 5, 6, 3), 300 - 100, np.int64), (5, 6, 3, 200)),
    ],
)
def test_npz_pixels_of_other_types_become_uint8(save_npz, pixels, expected):
    path = save_npz(x_train=pixels, y_train=[0, 1, 0, 1], x_test=pixels, y_test=[0, 1, 0, 1])
    image = load_data(path, image="x").train.image(0)
    assert (*image.shape, image[0, 0, 0]) == expected


def test_npz_of_floats_are_series(save_npz):
    path = save_npz(x=np.random.default_rng(0).normal(size=(10, 2, 30)), y=np.arange(10) % 2)
    train = load_data(path).train
    assert train.roles == {"series": "series", "label": "label"}
    assert train.table["series"].type.shape == [2, 30]


def folder_of_images(write, picture, root, classes=("cat", "dog"), n=4, start=0):
    for c, name in enumerate(classes):
        for i in range(n):
            write(f"{root}/{name}/{i}.png", picture(start + c * 50 + i))


def test_image_folder_by_class(write, picture, tmp_path):
    folder_of_images(write, picture, "photos", n=5)
    write("photos/cat/notes.txt", "not an image")
    splits = load_data(tmp_path / "photos")
    assert (splits.classes, len(splits.train), len(splits.test)) == (("cat", "dog"), 8, 2)
    places = [data.place(row) for data in (splits.train, splits.test) for row in range(len(data))]
    assert str(tmp_path / "photos/cat/0.png") in places
    assert any("no images" in line for line in splits.warnings)


def test_image_folder_with_splits_and_numbered_classes(write, picture, tmp_path):
    folder_of_images(write, picture, "train", classes=[str(i) for i in range(11)], n=1)
    folder_of_images(write, picture, "val", classes=["0", "10"], n=1, start=1000)
    folder_of_images(write, picture, "test", classes=["2", "10"], n=1, start=2000)
    splits = load_data(tmp_path)
    assert splits.classes == tuple(str(i) for i in range(11))
    assert sorted(splits.test.labels.tolist()) == [2, 10]
    assert len(splits.val) == 2


def index_rows(n=8):
    return [f"{'train' if i < 6 else 'test'}/{i}.png,{'train' if i < 6 else 'test'},{i % 2}" for i in range(n)]


@pytest.mark.parametrize("place", ["", "images/"])
def test_table_of_files_beside_a_folder(write, picture, tmp_path, place):
    write("labels.csv", ["file,split,label", *index_rows()])
    for i, row in enumerate(index_rows()):
        write(f"{place}{row.split(',')[0]}", picture(i))
    splits = load_data(tmp_path)
    assert (len(splits.train), len(splits.test), splits.train.modality) == (6, 2, "image")
    assert splits.test.image(1)[0, 0].tolist() == [7, 0, 7]
    assert "labels.csv row 7 (line 8), test/6.png" in splits.test.place(0)


@pytest.mark.parametrize("top", ["", "images/"])
def test_table_of_files_beside_a_zip(write, archive, picture, tmp_path, top):
    write(
        "labels.csv",
        ["file,split,label,class_name", *[f"{r},{'cat' if r[-1] == '0' else 'dog'}" for r in index_rows()]],
    )
    archive("images.zip", {top + row.split(",")[0]: picture(i) for i, row in enumerate(index_rows())})
    for source in (tmp_path, tmp_path / "labels.csv"):
        splits = load_data(source)
        assert splits.classes == ("cat", "dog")
        assert splits.test.image(1)[0, 0].tolist() == [7, 0, 7]


def test_recordings_are_kept_as_bytes(write, archive, tmp_path):
    write("labels.csv", ["file,label", *[f"{i}.wav,{i % 2}" for i in range(6)]])
    archive("recordings.zip", {f"{i}.wav": b"RIFF" + bytes([i]) for i in range(6)})
    train = load_data(tmp_path).train
    assert train.roles == {"audio": "audio", "label": "label"}
    assert train.table["audio"][0].as_py().startswith(b"RIFF")


def test_a_file_column_of_a_text_table_is_left_alone(write):
    path = write("d.csv", ["file,text,label", *[f"{i}.txt,ends in photo.jpg {i}.jpg,{'ab'[i % 2]}" for i in range(6)]])
    assert load_data(path).train.modality == "text"


def test_parquet_of_encoded_images(picture, tmp_path):
    cells = [{"bytes": picture(i), "path": None} for i in range(6)]
    pq.write_table(pa.table({"image": cells, "label": [i % 2 for i in range(6)]}), tmp_path / "train.parquet")
    assert load_data(tmp_path).train.image(0).shape == (4, 4, 3)


def test_unlabeled_rows_have_no_label(table, write):
    other = write("more.csv", ["text,label", "x,zzz", "y,"])
    splits = load_data(table(), unlabeled=other)
    assert splits.unlabeled.texts() == ["x", "y"]
    assert "label" not in splits.unlabeled.roles
    assert splits.unlabeled.classes == ()


def test_shifted_rows_of_unseen_labels_are_marked(table, write):
    other = write("shift.csv", ["text,label", "x,b", "y,oos"])
    splits = load_data(table(), shifted=other)
    assert splits.shifted.labels.tolist() == [1, -1]
    assert splits.shifted.table["label"].null_count == 1
    assert splits.shifted_unseen.tolist() == [False, True]


def test_shifted_labels_meet_by_name_where_both_files_name_them(write):
    path = write("d.csv", ["text,label,class_name", *[f"t{i},{i % 2},{['cat', 'dog'][i % 2]}" for i in range(8)]])
    other = write("s.csv", ["text,label,class_name", "x,0,dog", "y,1,cat", "z,2,emu"])
    plain = write("p.csv", ["text,label", "x,dog", "y,0", "z,emu"])
    assert load_data(path, shifted=other).shifted.labels.tolist() == [1, 0, -1]
    assert load_data(path, shifted=plain).shifted.labels.tolist() == [1, 0, -1]


def test_shifted_where_takes_the_test_split_of_the_source(write):
    rows = [
        f"{domain}{i},{'ab'[i % 2]},{domain},{split}"
        for domain in ("photo", "sketch", "paint")
        for i, split in enumerate(["train"] * 4 + ["test"] * 2)
    ]
    path = write("d.csv", ["text,label,domain,split", *rows])
    splits = load_data(path, where={"domain": "photo"}, shifted_where={"domain": "sketch"})
    assert set(splits.train.table["domain"].to_pylist()) == {"photo"}
    assert splits.shifted.texts() == ["sketch4", "sketch5"]
    assert not splits.shifted_unseen.any()
    others = load_data(path, shifted_where="domain=sketch")
    assert set(others.train.table["domain"].to_pylist()) == {"photo", "paint"}


def test_a_split_that_the_condition_empties_is_told(write):
    rows = [f"t{i},{'ab'[i % 2]},{'train' if i < 8 else 'test'},{'x' if i < 8 else 'y'}" for i in range(12)]
    path = write("d.csv", ["text,label,split,kind", *rows])
    splits = load_data(path, where="kind=x")
    assert "no test rows are left" in splits.warnings[0]
    assert len(splits.train) + len(splits.test) == 8


def test_a_test_split_without_labels_gives_way_to_validation(table, tmp_path, write):
    table("train.csv", 6), table("val.csv", 4, start=10)
    write("test.csv", ["text,label", "x,", "y,"])
    splits = load_data(tmp_path)
    assert len(splits.test) == 4
    assert "no labels and is not used" in splits.warnings[0]


def test_splits_pass_through(table):
    splits = load_data(table())
    assert load_data(splits) is splits


def test_rows_know_their_place(table):
    train = load_data(table(n=10)).train
    row = train.texts().index(train.texts()[3])
    number = int(train.texts()[row].split()[1]) + 1
    assert train.place(row).endswith(f"data.csv row {number} (line {number + 1})")
    assert train.take([row]).without("label").place(0) == train.place(row)


def test_lines_are_counted_through_quoted_line_ends(write):
    rows = ["text,label", '"one\nstill one",a', "two,b", '"three\n\n",a', "four,b", "five,a,extra"]
    with pytest.raises(DataError, match=r"row 5 \(line 9\): 3 fields where the header has 2"):
        load_data(write("d.csv", rows))
