"""Tags files: what spreadsheets and people write, and what is refused with its line."""

import pytest

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.tags.file_format import read_tag_file
from deeplab_miou.tags.timeline import Tag

S = 10**9


def written(tmp_path, content, name="tags.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def spans(file, **bag):
    """Return the label in force at whole seconds up to 30."""
    timeline = read_tag_file(file).timeline(**bag)
    return [",".join(tag.label for tag in timeline.tags(at * S)) for at in range(30)]


ROWS = [(2, 5, "rain"), (8, 12, "fog")]
EXPECTED = ["no tag"] * 2 + ["rain"] * 3 + ["no tag"] * 3 + ["fog"] * 4 + ["no tag"] * 18


@pytest.mark.parametrize(
    "content",
    [
        "start,end,tag\n2,5,rain\n8,12,fog\n",
        "Start, End ,TAG\r\n2.0,5.0, rain \r\n8.0,12.0,fog\r\n",
        "\ufeffstart;end;tag\r\n2,0;5,0;rain\r\n8,0;12,0;fog\r\n",
        "sep=;\r\nstart;end;tag\r\n2;5;rain\r\n8;12;fog",
        "start\tend\ttag\n2\t5\train\n8\t12\tfog\n",
        "\ufeffstart\tend\ttag\r\n2\t5\train\r\n8\t12\tfog\r\n".encode("utf-16-le"),
        'note,start,end,tag\n"a, ""b""\nc",2,5,rain\n,8,12,fog\n,,,\n',
        "tag,end,start\nfog,12,8\nrain,5,2\n",
        "start,tag\n2,rain\n5,\n8,fog\n12,\n",
        "start,end,tag\r2,5,rain\r8,12,fog\r",  # Excel's "CSV (Macintosh)"
    ],
)
def test_tables_that_are_read(tmp_path, content):
    assert spans(written(tmp_path, content)) == EXPECTED


def test_yaml(tmp_path):
    content = """
tags:
  - {start: 2, end: 5.0, tag: rain}
  - {start: "1970-01-01T00:00:08Z", end: 12, tag: fog}
"""
    assert spans(written(tmp_path, content, "tags.yaml")) == EXPECTED
    relative = content.replace("2, end: 5.0", '"+1", end: "+4"')
    assert spans(written(tmp_path, relative, "tags.yml"), first_ns=S) == EXPECTED


def test_an_empty_end_is_the_end_of_all(tmp_path):
    file = written(tmp_path, "start,end,tag\n2,,rain\n")
    assert spans(file) == ["no tag"] * 2 + ["rain"] * 28


def test_keys_bags_and_metadata(tmp_path):
    file = written(tmp_path, "bag,start,end,key,tag\na,0,9,weather,rain\nb,0,9,weather,fog\n")
    tags = read_tag_file(file)
    assert tags.needs_bag
    assert tags.timeline({"a"}).tags(5 * S) == [Tag("weather", "rain")]
    other = tags.timeline({"c"})
    assert other.tags(5 * S) == []
    assert "is for this bag; they are for 'a', 'b'" in other.doubts[0]
    file = written(tmp_path, 'start,end,metadata\n0,9,"{""weather"": ""rain"", ""lane"": 2}"\n')
    tags = read_tag_file(file)
    assert not tags.needs_bag
    assert tags.timeline().tags(5 * S) == [Tag("weather", "rain"), Tag("lane", "2")]


def test_foxglove_events_of_a_type(tmp_path):
    # As foxglove-cli writes them: what an event lacks is null, and properties have their own types.
    file = written(
        tmp_path,
        "ID,Device ID,Device Name,Start,End,Event Type ID,Created At,Updated At,"
        "Metadata,Properties\n"
        "evt_1,dev_1,car,1970-01-01T00:00:02Z,1970-01-01T00:00:05Z,evtt_1,,,null,"
        '"{""weather"":""rain"",""wet"":true,""lane"":null}"\n'
        "evt_2,dev_1,car,1970-01-01T00:00:08Z,1970-01-01T00:00:12Z,,,,"
        '"{""weather"":""fog""}",null\n'
        "evt_3,dev_1,car,1970-01-01T00:00:08Z,1970-01-01T00:00:12Z,,,,null,{}\n",
    )
    timeline = read_tag_file(file).timeline()
    assert timeline.tags(2 * S) == [Tag("weather", "rain"), Tag("wet", "true")]
    assert timeline.tags(8 * S) == [Tag("weather", "fog"), Tag("wet", "no tag")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is empty"),
        ("start,end,tag\n", "has 0 rows"),
        ("begin,end,tag\n1,2,x\n", "line 1: has the columns 'begin', 'end', 'tag'; expected start"),
        ("1,2,x\n", "line 1: has the columns '1', '2', 'x'"),
        ("start,start,end,tag\n1,1,2,x\n", "names the column 'start' twice"),
        ("start,end,tag\n1,2,x\n5,4,y\n", "line 3: has an end, '4', that is before its start"),
        ("start,end,tag\n+1,2,x\n", "line 2: has an end, '2', that has another origin"),
        ("start,end,tag\n,2,x\n", "line 2: has the start ''"),
        (
            "sep=;\nstart;end;tag\n1;morning;x\n",
            "line 3: has the end 'morning', which is not a time",
        ),
        ("start,end,tag\n1,1.7E+09,x\n", "line 2: has the end '1.7E+09', which was rounded"),
        ("start,end,metadata\n1,2,rain\n", "line 2: has the metadata 'rain', expected a JSON"),
        ("start,end,properties\n1,2,[1]\n", "line 2: has the properties '[1]', expected a JSON"),
        ("start,end,metadata\n1,2,null\n", "has 1 events, none of which has metadata"),
        ("start;end;tag\n1;2;Übung\n".encode("cp1252"), "not UTF-8: save the sheet as CSV UTF-8"),
        (b"PK\x03\x04....", "is a workbook or an archive"),
        (b"start,end,tag\n1,2,\0\n", "is not text"),
        ("\ufeff".encode("utf-16-le") + b"\x00", "not UTF-8"),
    ],
)
def test_tables_that_are_refused(tmp_path, content, expected):
    with pytest.raises(ConfigurationError) as error:
        read_tag_file(written(tmp_path, content))
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("tags: []", "has 0 entries"),
        ("tags:\n  - {start: 1, end: 2}", "line 2: tags[0] has no tag"),
        ("tags:\n  - {start: 1, end: later, tag: x}", "line 2: tags[0].end is 'later', which is"),
        ("tags:\n  - {start: 1, end: 0, tag: x}", "tags[0].end is before its start"),
        ("tags:\n  - {start: 1, end: 2, tag: x}\n  - {start: 1, tag: x}", "line 3: tags[1] has no"),
        ("spans: []", "spans is not a key here"),
    ],
)
def test_yaml_that_is_refused(tmp_path, content, expected):
    with pytest.raises(ConfigurationError) as error:
        read_tag_file(written(tmp_path, content, "tags.yaml"))
    assert expected in str(error.value)
