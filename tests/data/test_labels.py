import pytest

from warmstart.data import DataError, load_data
from warmstart.data.labels import naming_of_list, read_label_names


def test_integer_labels_are_ordered_as_numbers(write):
    path = write("d.csv", ["text,label", *[f"t{i},{i % 12}" for i in range(48)]])
    assert load_data(path).classes == tuple(str(i) for i in range(12))


def test_class_name_column_names_integer_labels_in_label_order(write):
    names = ["zebra", "ant", "monkey"]
    path = write("d.csv", ["text,label,class_name", *[f"t{i},{i % 3},{names[i % 3]}" for i in range(12)]])
    splits = load_data(path)
    assert splits.classes == ("zebra", "ant", "monkey")
    text, label = splits.train.texts()[0], splits.train.labels[0]
    assert int(text[1:]) % 3 == label


def test_class_name_column_is_the_label_where_there_is_no_other(write):
    path = write("d.csv", ["text,class_name", *[f"t{i},{['dog', 'cat'][i % 2]}" for i in range(8)]])
    assert load_data(path).classes == ("cat", "dog")


def test_two_classes_of_one_name_stay_apart(write):
    names = ["crane", "ship", "crane"]
    path = write("d.csv", ["text,label,class_name", *[f"t{i},{i % 3},{names[i % 3]}" for i in range(12)]])
    assert load_data(path).classes == ("crane (0)", "ship", "crane (2)")


def test_label_with_two_names_is_a_fault(write):
    path = write("d.csv", ["text,label,class_name", "x,0,cat", "y,1,dog", "z,0,bird"])
    with pytest.raises(DataError, match=r"row 3 \(line 4\): label '0' is named 'bird', and 'cat' before"):
        load_data(path)


def test_names_of_other_labels_are_not_used(write):
    rows = [f"t{i},{i % 2},{i % 3},{['cat', 'dog'][i % 2]}" for i in range(24)]
    path = write("d.csv", ["text,label,speaker,class_name", *rows])
    assert load_data(path, label="speaker").classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("names.txt", "negative\npositive\n"),
        ("names.csv", "negative\npositive\n"),
        ("pairs.csv", "label,name\n1,positive\n0,negative\n"),
        ("names.json", '["negative", "positive"]'),
        ("pairs.json", '{"0": "negative", "1": "positive", "2": "unused"}'),
    ],
)
def test_label_names_files(write, name, content):
    path = write("d.csv", ["text,label", *[f"t{i},{i % 2}" for i in range(8)]])
    splits = load_data(path, label_names=write(name, content))
    assert {splits.classes[label] for text, label in zip(splits.train.texts(), splits.train.labels, strict=True)
            if int(text[1:]) % 2} == {"positive"}  # fmt: skip


def test_a_list_fits_names_positions_or_positions_from_one():
    assert naming_of_list(["b", "a"], {"a", "b"}, "names").names == {"b": "b", "a": "a"}
    assert naming_of_list(["b", "a"], {"0", "1"}, "names").names == {"0": "b", "1": "a"}
    assert naming_of_list(["b", "a"], {"1", "2"}, "names").names == {"1": "b", "2": "a"}
    assert naming_of_list(["1", "2"], {"1", "2"}, "names").names == {"1": "1", "2": "2"}


def test_labels_without_a_name_are_faults(write):
    with pytest.raises(DataError, match=r"names.txt: label '7' has no name among its 2 \(0..1\)"):
        naming_of_list(["a", "b"], {"0", "7"}, "names.txt")
    with pytest.raises(DataError, match="label 'postive' is none of its 2 names; did you mean 'positive'"):
        naming_of_list(["negative", "positive"], {"postive", "negative"}, "names.txt")
    with pytest.raises(DataError, match="class name 'a' stands twice"):
        naming_of_list(["a", "a"], {"0", "1"}, "names.txt")
    path = write("d.csv", ["text,label", "x,0", "y,1", "z,2"])
    with pytest.raises(DataError, match="no name for label '2'"):
        load_data(path, label_names={"0": "a", "1": "b"})


def test_unreadable_label_names(write, tmp_path):
    with pytest.raises(DataError, match="no such file of label names"):
        read_label_names(tmp_path / "no.txt")
    with pytest.raises(DataError, match="empty file"):
        read_label_names(write("names.txt", "\n\n"))
    with pytest.raises(DataError, match="not readable label names"):
        read_label_names(write("names.json", "{"))
    with pytest.raises(DataError, match="row 2: 3 fields"):
        read_label_names(write("names.csv", "label,name\n0,a\n1,b,c\n"))
