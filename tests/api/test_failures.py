"""`Failures`: one file that fails stops no other; the command's error and exit code at the end."""

from pathlib import Path

import pytest

from transgan.api import DataError, DiskError, Failures, TransganError


def run(*errors: Exception | None) -> Failures:
    failures = Failures()
    for number, error in enumerate(errors):
        with failures.of(Path(f"{number}.png")):
            if error:
                raise error
    return failures


def test_each_failure_is_a_line_and_the_last_error_sums_up(capsys: pytest.CaptureFixture[str]) -> None:
    failures = run(DiskError("a: full"), None, DiskError("b: full"))
    assert capsys.readouterr().err == "error: a: full\nerror: b: full\n" and len(failures) == 2
    with pytest.raises(TransganError, match="2 of 3 files could not be read; see above") as error:
        failures.stop(3, "read")
    assert error.value.exit_code == DiskError.exit_code
    with pytest.raises(TransganError) as error:
        run(DiskError("full"), OSError(13, "no permission", "c")).stop(2, "read")
    assert error.value.exit_code == DiskError.exit_code
    with pytest.raises(TransganError) as error:
        run(DiskError("full"), DataError("odd")).stop(2, "read")
    assert error.value.exit_code == DataError.exit_code


def test_nothing_is_raised_where_nothing_failed_and_a_bug_is_raised_as_it_is() -> None:
    run(None, None).stop(2, "read")
    bug = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError) as error:
        run(DataError("odd"), bug, KeyError("later")).stop(3, "read")
    assert error.value is bug


def test_an_interrupt_ends_the_command() -> None:
    with pytest.raises(KeyboardInterrupt), Failures().of(Path("a")):
        raise KeyboardInterrupt
