"""The cells of an Excel file, .xls or .xlsx, as text; read by a process of its own, which a damaged file may end."""

import json
import resource
import subprocess
import sys
from pathlib import Path

from fer_dist.errors import InputError
from fer_dist.storage.untrusted import open_regular

MOST_BYTES = 4 << 30
"""Memory that reading a file may take: one cell of a damaged file, far down and to the right, asks for any amount."""

MOST_FILE_BYTES = 256 << 20
"""Of a file, in which cells are compressed: the release's has some 1,200 rows."""

MOST_SECONDS = 120


def excel_sheets(table: Path) -> list[list[list[str]]]:
    """The rows of each sheet, in the file's order. Raises InputError where it cannot be read."""
    try:
        ended = subprocess.run(
            [sys.executable, "-m", __name__, str(table)], capture_output=True, timeout=MOST_SECONDS, check=True
        )
        sheets: list[list[list[str]]] = json.loads(ended.stdout)
    except (subprocess.SubprocessError, ValueError):
        raise InputError(
            f"{table}: cannot be read as an Excel file; take it from the release again, or save it as "
            f"{table.with_suffix('.csv').name} from a program that can"
        ) from None
    return sheets


def _write_sheets(path: str) -> None:
    from python_calamine import CalamineWorkbook

    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, most))
    with open_regular(path, MOST_FILE_BYTES) as stream:
        book = CalamineWorkbook.from_filelike(stream)  # by its bytes, whatever its name ends with
        sheets = [book.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in book.sheet_names]
    json.dump([[[str(value).strip() for value in row] for row in rows] for rows in sheets], sys.stdout)


if __name__ == "__main__":
    _write_sheets(sys.argv[1])
