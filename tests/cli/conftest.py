import signal

import pytest

import mlgen.cli


@pytest.fixture
def mlgen_command(capfd):
    """Run the command in this process; return exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        before = signal.getsignal(signal.SIGTERM)
        try:
            mlgen.cli.main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        finally:
            signal.signal(signal.SIGTERM, before)
        out, err = capfd.readouterr()
        return code, out, err

    return run
