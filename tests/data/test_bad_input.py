"""Bad input ends in one line that names file, row and fault; with skip_bad, bad rows are set aside and named."""

import io
import json
import pickle
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from warmstart.data import DataError, load_data
from warmstart.data import dataset as dataset_module

GOOD = [f"text {i},{'ab'[i % 2]}" for i in range(10)]


def fault(source, **options) -> str:
    with pytest.raises(DataError) as caught:
        load_data(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_missing_column_names_the_nearest(write):
    path = write("d.csv", ["text,lable", *GOOD])
    assert "d.csv: no column 'label'; did you mean 'lable'? (there are: text, lable)" in fault(path, label="label")
    assert "no label column recognised among 'text', 'lable'" in fault(path)
    assert "no column 'txt'; did you mean 'text'?" in fault(path, text="txt", label="lable")
    assert "no column 'Domain'" in fault(path, where={"Domain": "x"}, label="lable")
    assert "no column 'grp'" in fault(path, group="grp", label="lable")


def test_column_missing_in_one_split(table, write, tmp_path):
    table("train.csv"), write("test.csv", ["text,labels", "x,a"])
    assert "test.csv: no column 'label'; did you mean 'labels'?" in fault(tmp_path)


def test_no_input_column(write):
    assert "no text or image column recognised among 'words', 'label'" in fault(write("d.csv", ["words,label", *GOOD]))


def test_missing_file_names_the_nearest(table, tmp_path):
    table("train.csv")
    assert "trian.csv: no such file or folder; did you mean 'train.csv'?" in fault(tmp_path / "trian.csv")
    assert "digts: no such file, folder or embedded set; did you mean 'digits'?" in fault("digts")
    assert "no data: name a file" in fault("")


def test_empty_files(write, tmp_path):
    assert "d.csv: empty file" in fault(write("d.csv", ""))
    assert "d.csv: empty file" in fault(write("d.csv", " \n\n"))
    assert "d.csv: no rows" in fault(write("d.csv", "text,label\n"))
    assert "d.jsonl: empty file" in fault(write("d.jsonl", ""))
    assert "d.npz: empty file" in fault(write("d.npz", ""))
    assert "d.parquet: empty file" in fault(write("d.parquet", ""))
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "e.parquet")
    assert "e.parquet: no rows" in fault(tmp_path / "e.parquet")
    (tmp_path / "nothing").mkdir()
    assert "nothing: no data found; expected train / val / test tables" in fault(tmp_path / "nothing")


def test_unknown_kinds_of_file(write):
    assert ".xlsx is not read; data are .csv" in fault(write("d.xlsx", "x"))
    assert "not a readable parquet file" in fault(write("d.parquet", b"PAR1 no"))
    assert "not a readable npz file" in fault(write("d.npz", b"PK no zip"))
    assert "must be a path" in fault(3)


def test_row_of_wrong_width(write):
    path = write("d.csv", ["text,label", *GOOD[:5], "only one field", *GOOD[5:], "a,b,c"])
    assert "d.csv row 6 (line 7): 1 field where the header has 2" in fault(path)
    splits = load_data(path, skip_bad=True)
    assert len(splits.train) + len(splits.test) == 10
    assert splits.skipped == [
        (str(path), 6, "1 field where the header has 2 (line 7)"),
        (str(path), 12, "3 fields where the header has 2 (line 13)"),
    ]
    assert any("bad rows set aside: 2 (first" in line for line in splits.warnings)


def test_an_open_quote_does_not_swallow_the_rest(write):
    path = write("d.csv", ["text,label", *GOOD[:5], '"never closed,a', *GOOD[5:]])
    assert "d.csv row 6 (line 7): a quote is opened and never closed" in fault(path)
    splits = load_data(path, skip_bad=True)
    assert len(splits.train) + len(splits.test) == 10
    assert [row for _, row, _ in splits.skipped] == [6]
    malformed = write("e.csv", ["text,label", *GOOD[:2], '"quoted" and more,a', *GOOD[2:]])
    assert "row 3 (line 4): malformed quotes" in fault(malformed)


def test_bytes_that_are_not_utf8(write):
    lines = ["text,label", *GOOD]
    path = write("d.csv", "\n".join(lines).encode() + "\ncafé,a\n".encode("latin-1"))
    assert "d.csv row 11 (line 12): not UTF-8 text (byte 0xe9); save the file as UTF-8" in fault(path)
    assert len(load_data(path, skip_bad=True).skipped) == 1
    jsonl = write("d.jsonl", b'{"text": "caf\xe9", "label": 1}\n')
    assert "row 1 (line 1): not UTF-8" in fault(jsonl)
    assert "(line 1): not UTF-8" in fault(write("e.csv", b"text,l\xe9\nx,a\n"))


def test_two_columns_of_one_name(write):
    assert "(line 1): two columns are named 'text'" in fault(write("d.csv", ["text,text,label", "a,b,c"]))


def test_malformed_json_lines(write):
    good = [json.dumps({"text": f"t{i}", "label": i % 2}) for i in range(8)]
    path = write("d.jsonl", [*good[:2], "{not json", "[1]", "", *good[2:], '{"text": null, "label": 1}'])
    assert "d.jsonl row 3 (line 3): not valid JSON" in fault(path)
    splits = load_data(path, skip_bad=True)
    assert len(splits.train) + len(splits.test) == 8
    assert [(row, reason.split(" (")[0]) for _, row, reason in splits.skipped] == [
        (3, "not valid JSON"),
        (4, "not a JSON object {...}"),
        (11, "no text in 'text'"),
    ]


def test_values_that_are_no_text_or_label(write):
    rows = [{"text": f"t{i}", "label": i % 2} for i in range(6)]
    path = write("d.jsonl", [json.dumps(row) for row in [*rows, {"text": ["a", "b"], "label": 1}]])
    assert "row 7 (line 7): no text in 'text'" in fault(path)
    path = write("d.jsonl", [json.dumps(row) for row in [*rows, {"text": "a", "label": [1, 2]}]])
    assert "row 7 (line 7): 'label' holds a list or an object" in fault(path)


def test_missing_labels_are_named_and_never_dropped(write):
    path = write("d.csv", ["text,label", *GOOD[:5], "x,", *GOOD[5:], "y,"])
    assert "d.csv row 6 (line 7): no label (an empty cell)" in fault(path)
    assert "(2 such rows)" in fault(path)
    splits = load_data(path, skip_bad=True)
    assert len(splits.train) + len(splits.test) + len(splits.skipped) == 12
    null = write("d.jsonl", ['{"text": "a", "label": null}', '{"text": "b", "label": "x"}'])
    assert "row 1 (line 1): no label" in fault(null)


def test_one_class_only(write):
    assert "d.csv: one class only in training ('a')" in fault(write("d.csv", ["text,label", "x,a", "y,a", "z,a"]))


def test_empty_class_declared_by_names(table, write):
    names = write("names.txt", "a\nb\nc\n")
    assert "names.txt: empty class 'c': no row of training has it" in fault(table(), label_names=names)
    splits = load_data(table(), label_names=names, skip_bad=True)
    assert splits.classes == ("a", "b")
    assert any("empty class 'c'" in line for line in splits.warnings)


def test_empty_class_folder(write, picture, tmp_path):
    for i in range(6):
        write(f"{'ab'[i % 2]}/{i}.png", picture(i))
    (tmp_path / "empty").mkdir()
    assert "empty class 'empty'" in fault(tmp_path)


def test_test_labels_that_training_does_not_have(table, write, tmp_path):
    table("train.csv"), write("test.csv", ["text,label", "x,a", "y,oos", "z,oos"])
    message = fault(tmp_path)
    assert "test.csv row 2 (line 3): test label that training does not have: 'oos'" in message
    assert "(2 such rows)" in message
    assert "out-of-distribution" in message
    splits = load_data(tmp_path, skip_bad=True)
    assert (len(splits.test), len(splits.skipped)) == (1, 2)


def test_duplicates_across_train_and_test_are_counted(table, write, tmp_path):
    table("train.csv"), write("test.csv", ["text,label", "text 0,a", "text 1,b", "new,a"])
    splits = load_data(tmp_path)
    assert "2 of 3 test rows have an exact duplicate in train" in splits.warnings[0]
    assert "test.csv row 1 (line 2)" in splits.warnings[0]


def test_duplicates_need_all_inputs_equal(write, tmp_path):
    write("train.csv", ["premise,hypothesis,label", "p,h,a", "q,h,b"])
    write("test.csv", ["premise,hypothesis,label", "p,other,a", "q,other,b"])
    assert load_data(tmp_path, text="premise,hypothesis").warnings == []


def test_conflicting_labels_are_counted(table, write, tmp_path):
    write("train.csv", ["text,label", *GOOD, "text 0,b"]), table("test.csv", 4, start=50)
    line = load_data(tmp_path).warnings[0]
    assert "1 input stands under more than one label" in line
    assert "train.csv row 1 (line 2), as 'a' and 'b'" in line


def test_classes_without_test_rows_and_empty_texts_are_told(write, tmp_path):
    write("train.csv", ["text,label", *GOOD, "x,c"]), write("test.csv", ["text,label", "new,a", "newer,b", '"",b'])
    warnings = load_data(tmp_path).warnings
    assert any("1 of 3 classes have no test rows: 'c'" in line for line in warnings)
    assert any("1 texts of test are empty (first:" in line and "test.csv row 3 (line 4)" in line for line in warnings)


def test_a_label_column_that_is_an_identifier_is_told(write):
    unique = write("u/train.csv", ["text,label", *[f"t{i},{i}" for i in range(30)]])
    write("u/test.csv", ["text,label", "x,0"])
    assert any("is this the right label column?" in line for line in load_data(unique.parent).warnings)


def test_where_that_matches_nothing_names_the_nearest_value(write):
    path = write("d.csv", ["text,label,domain", *[f"{row},photo" for row in GOOD]])
    assert "no row where domain=phto; did you mean 'photo'?" in fault(path, where="domain=phto")
    assert "is not COLUMN=VALUE" in fault(path, where="photo")
    assert "nothing is left to train on" in fault(path, shifted_where="domain=photo")


def test_several_tables_and_no_train(table, tmp_path):
    table("one.csv"), table("two.csv")
    assert "no train file, and several tables (one.csv, two.csv); name one of them" in fault(tmp_path)


def test_two_files_for_one_split(table, tmp_path):
    table("train.csv"), table("train.tsv")
    assert "several files for train: train.csv, train.tsv" in fault(tmp_path)


def test_bad_options(table):
    assert "between 0 and 1" in fault(table(), test_share=1.5)
    assert "group or time, not both" in fault(table(), group="text", time="text")


def test_shifted_of_another_modality(table, save_npz):
    other = save_npz(x=np.zeros((4, 8, 8), np.uint8), y=np.arange(4) % 2)
    assert "shifted rows hold image, training rows text" in fault(table(), shifted=other)


# Images


def huge_png(width=30_000, height=30_000) -> bytes:
    """A PNG header that claims many pixels."""
    chunk = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    start = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    data = b"IDAT" + zlib.compress(b"\0")
    return start + (len(data) - 4).to_bytes(4, "big") + data + zlib.crc32(data).to_bytes(4, "big")


@pytest.fixture
def images(write, picture, tmp_path):
    """images(bad) -> a folder of ten images and labels.csv, the third image replaced by `bad`."""

    def put(bad=None, name="2.png"):
        write("labels.csv", ["file,label", *[f"{name if i == 2 else f'{i}.png'},{i % 2}" for i in range(10)]])
        for i in range(10):
            write(f"{i}.png", picture(i))
        if bad is not None:
            write("2.png", bad)
        return tmp_path

    return put


def test_unreadable_image(images):
    folder = images(b"this is no image")
    assert "labels.csv row 3 (line 4), 2.png: not a readable image" in fault(folder)
    splits = load_data(folder, skip_bad=True)
    assert len(splits.train) + len(splits.test) == 9
    assert splits.skipped[0][:2] == (str(folder / "labels.csv"), 3)
    assert "line 4, 2.png" in splits.skipped[0][2]


@pytest.mark.parametrize("side", [9_000, 10_000, 30_000])
def test_huge_image_is_refused_by_its_header(images, side):
    assert "row 3 (line 4), 2.png: huge image" in fault(images(huge_png(side, side)))


def test_empty_and_missing_image_files(images):
    assert "row 3 (line 4), 2.png: empty image file" in fault(images(b""))
    assert "row 3 (line 4), no.png: file 'no.png' is not in" in fault(images(name="no.png"))
    assert "row 3 (line 4): no image file named" in fault(images(name=""))
    assert len(load_data(images(name="no.png"), skip_bad=True).skipped) == 1


def test_damaged_image_is_named_when_it_is_decoded(images):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(buffer, "PNG")
    folder = images(buffer.getvalue()[:3000])
    splits = load_data(folder)
    data = next(one for one in (splits.train, splits.test) if any("2.png" in one.place(i) for i in range(len(one))))
    row = next(i for i in range(len(data)) if "2.png" in data.place(i))
    with pytest.raises(DataError, match=r"labels.csv row 3 \(line 4\), 2.png: damaged image"):
        data.image(row)
    assert [row for _, row, _ in load_data(folder, skip_bad=True).skipped] == [3]


def test_damaged_image_of_a_class_folder(write, picture, tmp_path):
    for i in range(8):
        write(f"{'ab'[i % 2]}/{i}.png", picture(i))
    write("a/2.png", b"no image")
    assert f"{tmp_path}/a/2.png: not a readable image" in fault(tmp_path)
    assert load_data(tmp_path, skip_bad=True).skipped[0][:2] == (f"{tmp_path}/a/2.png", 0)


@pytest.mark.parametrize(
    "name", ["../secret.png", "a/../../secret.png", "..\\secret.png", "/etc/hostname", "C:\\x.png"]
)
@pytest.mark.parametrize("skip_bad", [False, True])
def test_file_column_that_leaves_its_folder_is_refused(images, name, skip_bad):
    message = fault(images(name=name), skip_bad=skip_bad)
    assert "labels.csv row 3 (line 4)" in message
    assert "leaves the folder" in message
    assert "refused" in message


def test_symbolic_link_that_leaves_the_folder_is_refused(images, picture, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    outside.write_bytes(picture())
    folder = images()
    (folder / "2.png").unlink()
    (folder / "2.png").symlink_to(outside)
    assert "leaves the folder" in fault(folder)


@pytest.mark.parametrize("member", ["../evil.png", "/evil.png", "a/../../evil.png", "..\\evil.png"])
def test_archive_that_writes_outside_is_refused(write, archive, picture, tmp_path, member):
    write("labels.csv", ["file,label", *[f"{i}.png,{i % 2}" for i in range(6)]])
    archive("images.zip", {**{f"{i}.png": picture(i) for i in range(6)}, member: picture()})
    message = fault(tmp_path)
    assert "images.zip: member" in message
    assert "would be written outside the archive's folder: refused" in message


def test_broken_archives(write, archive, picture, tmp_path):
    write("labels.csv", ["file,label", *[f"{i}.png,{i % 2}" for i in range(6)]])
    path = archive("images.zip", {f"{i}.png": picture(i) for i in range(6)})
    content = path.read_bytes()
    spot = content.index(b"IDAT")
    path.write_bytes(content[:spot] + b"XXXX" + content[spot + 4 :])
    assert "row 1 (line 2), 0.png: file '0.png' cannot be read (Bad CRC-32" in fault(tmp_path)
    assert len(load_data(tmp_path, skip_bad=True).skipped) == 1
    path.write_bytes(content[: len(content) // 2])
    assert "images.zip: not a readable zip file" in fault(tmp_path)


def test_no_files_anywhere_says_where_it_looked(write, tmp_path):
    write("labels.csv", ["file,label", "0.png,0", "1.png,1"])
    assert "file '0.png' was found nowhere (looked in" in fault(tmp_path)


def test_a_text_column_given_as_images(table):
    assert "found nowhere" in fault(table(), image="text")


# npz


def test_object_arrays_are_refused_unread(save_npz):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was run",))

    path = save_npz(x=np.array([Bomb(), Bomb()], dtype=object), y=[0, 1])
    assert "'x' holds Python objects (a pickle): refused" in fault(path)


def test_pickles_are_refused_unread(write):
    assert "d.npz: a pickle: refused" in fault(write("d.npz", pickle.dumps({"x": 1})))
    assert ".pkl is not read" in fault(write("d.pkl", pickle.dumps({"x": 1})))


def test_npz_of_wrong_shapes(save_npz):
    images = np.zeros((4, 8, 8), np.uint8)
    assert "'y' of train has 3 rows, not 4" in fault(save_npz(x_train=images, y_train=[0, 1, 0]))
    assert "'y' has 3 rows, and the inputs have 4" in fault(save_npz(x=images, y=[0, 1, 0]))
    assert "shape (4, 4)" in fault(save_npz(x=images, label=np.eye(4)))
    assert "shape (4, 64); images are" in fault(save_npz(x=images.reshape(4, 64), y=[0, 1, 0, 1]), image="x")
    assert "values from -1 to 1" in fault(
        save_npz(x=np.linspace(-1, 1, 16).reshape(4, 2, 2), y=[0, 1, 0, 1]), image="x"
    )
    bad = np.zeros((4, 3))
    bad[2, 1] = np.nan
    assert "row 3: 'x' holds values that are not finite" in fault(save_npz(x=bad, y=[0, 1, 0, 1]))


def test_limits_are_those_of_the_decoder():
    assert Image.MAX_IMAGE_PIXELS > dataset_module.MAX_PIXELS
