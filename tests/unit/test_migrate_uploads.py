"""Which file a row of the old database names, whatever stood before its name, and what is told of the rest."""

from pathlib import Path

import pytest

from owctl.migrate.convert.column_map import Converted, Notes
from owctl.migrate.convert.mapping import convert, plan_tables
from owctl.migrate.convert.values import relative_to, upload_name
from owctl.migrate.load.files import (
    StoredFile,
    captured_sizes,
    files_document,
    folder_sizes,
    foretell_files,
)
from owctl.migrate.prove import Expected, Proof, file_proof
from owctl.migrate.report.model import CHANGES
from owctl.migrate.source.capture import capture_file
from owctl.migrate.source.database import open_source
from tests.migrate_sources.builder import ADMIN, Builder
from tests.migrate_sources.targets import options

NAMES = frozenset(("id_a b.txt", "2024/id_deep.txt", "id_back\\slash.txt", "top.txt"))
DIR = "/app/data/uploads"
PATHS = [
    ("/app/backend/data/uploads/id_a b.txt", "id_a b.txt"),
    ("/root/.open-webui/uploads/id_a b.txt", "id_a b.txt"),
    ("/home/ann/.local/share/data/id_a b.txt", "id_a b.txt"),
    ("uploads/id_a b.txt", "id_a b.txt"),
    ("C:\\Users\\Ann\\AppData\\uploads\\id_a b.txt", "id_a b.txt"),
    ("C:/Users/Ann/uploads\\id_a b.txt", "id_a b.txt"),
    ("\\\\server\\share\\uploads\\2024\\id_deep.txt", "2024/id_deep.txt"),
    ("/root/.open-webui/uploads/2024/id_deep.txt", "2024/id_deep.txt"),
    ("/root/.open-webui/uploads/id_back\\slash.txt", "id_back\\slash.txt"),
    ("s3://bucket/some/prefix/id_a b.txt", "id_a b.txt"),
    # Named as in a folder of uploads, but not there.
    ("/root/.open-webui/uploads/gone.txt", "gone.txt"),
    ("C:\\Users\\Ann\\uploads\\gone.txt", "gone.txt"),
    # Not the file of that name that lies above it.
    ("/root/.open-webui/uploads/2023/top.txt", "2023/top.txt"),
    ("s3://bucket/far", None),
    ("/mnt/store/far", None),
    ("/root/uploads/", None),
    ("/root/uploads/../../etc/passwd", None),
    ("", None),
]  # fmt: skip


@pytest.mark.parametrize(("path", "name"), PATHS)
def test_a_file_is_known_by_what_its_path_ends_with(path: str, name: str | None):
    assert upload_name(path, NAMES) == name


@pytest.mark.parametrize(
    ("path", "name"), [("uploads/x", "x"), ("D:\\x\\uploads\\y", "y"), ("/mnt/x", None)]
)
def test_without_a_folder_of_uploads_its_name_in_the_path_counts(path: str, name: str | None):
    assert upload_name(path) == name


def test_a_path_leads_out_of_no_folder():
    assert relative_to(DIR, f"{DIR}/2024/x") == "2024/x"
    assert relative_to(DIR, f"{DIR}/../x") is None
    assert relative_to("/", "/x") == "x"


def test_rows_get_the_paths_of_the_files_that_were_captured(tmp_path: Path):
    builder = Builder(tmp_path / "webui.db")
    builder.user(ADMIN)
    for number, (path, _) in enumerate(PATHS):
        builder.add("file", id=str(number), user_id=ADMIN, path=path)
    choice, notes = options(upload_names=NAMES), Notes()
    with open_source(builder.close().path) as source:
        table_map = next(each for each in plan_tables(source, choice) if each.target == "file")
        rows = [r for r in convert(source, table_map, choice, notes) if isinstance(r, Converted)]
    position = table_map.columns.index("path")
    expected = [f"{DIR}/{name}" if name is not None else path for path, name in PATHS]
    assert [str(row.values[position], "utf-8") for row in rows] == expected
    kept = [str(number) for number, (path, name) in enumerate(PATHS) if name is None and path]
    assert notes.examples("file", "path", "path-kept") == kept
    assert CHANGES["path-kept"].loses


def test_a_rehearsal_counts_what_is_missing_and_what_belongs_to_rows_that_stay(tmp_path: Path):
    uploads = tmp_path / "files"
    for name in ("id_a b.txt", "2024/id_deep.txt", "of a rejected row", "stray"):
        (uploads / name).parent.mkdir(parents=True, exist_ok=True)
        (uploads / name).write_bytes(b"1234567")
    sizes = folder_sizes(uploads)
    rows = [
        StoredFile(str(number), path, f"{DIR}/{name}" if name else path)
        for number, (path, name) in enumerate(PATHS)
        if path
    ]
    found = foretell_files(rows, ["/x/uploads/of a rejected row", "/x/uploads/z"], DIR, sizes)
    assert (found.copied, found.copied_bytes) == (2, 14)
    assert {Path(row.old_path.replace("\\", "/")).name for row in found.missing} == {
        "gone.txt", "top.txt", "slash.txt",
    }  # fmt: skip
    assert [row.old_path for row in found.elsewhere] == [
        "s3://bucket/far", "/mnt/store/far", "/root/uploads/", "/root/uploads/../../etc/passwd",
    ]  # fmt: skip
    assert (found.unreferenced, found.of_rejected) == (("stray",), ("of a rejected row",))
    assert files_document(found)["of_rejected_rows"] == ["of a rejected row"]
    (tmp_path / "migration").mkdir()
    database = Builder(tmp_path / "webui.db").close().path
    assert captured_sizes(capture_file(database, uploads, tmp_path / "migration")) == sizes


def test_a_download_that_was_not_tried_proves_nothing():
    skipped = Proof("file", "skipped", "no file was copied that this account may read")
    lost = file_proof(skipped, Expected({}, {}, files_without_content=12))
    assert (lost.status, "names 12 uploaded files" in lost.detail) == ("failed", True)
    copied = file_proof(skipped, Expected({}, {}, {"a": "00"}, files_without_content=12))
    assert copied.status == "skipped"
    assert "in the volume 1 were read back" in copied.detail
    assert file_proof(skipped, Expected({}, {})) == skipped
