"""The drawing process draws what `draw` draws, reports its errors, and leaves nothing behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sim.view import ViewError, draw
from sim.view.studio import Studio
from tests.trace.story import save, tell

if TYPE_CHECKING:
    from pathlib import Path


def test_a_studio_draws_the_same_pictures(tmp_path: Path) -> None:
    folder = save(tell(calls=20), tmp_path / "run")
    draw(folder, ["spacetime"])
    alone = (folder / "spacetime.png").read_bytes()
    with Studio() as studio:
        assert studio.draw(folder, ["spacetime", "rates"]) == [folder / "spacetime.png", folder / "rates.png"]
        assert (folder / "spacetime.png").read_bytes() == alone
        with pytest.raises(ViewError, match="no kind of picture 'pie'"):
            studio.draw(folder, ["pie"])
        assert studio.draw(folder, ["clocks"]) == [folder / "clocks.png"], "it goes on after an error"


def test_a_studio_whose_process_is_gone_says_so(tmp_path: Path) -> None:
    studio = Studio()
    os.kill(studio._child.pid, signal.SIGKILL)
    with pytest.raises(ViewError, match=r"the drawing process ended \(status -9\)"):
        studio.draw(tmp_path)
    studio.close()
    studio.close()


@pytest.mark.parametrize(
    "order", [b"", b'{"run_dir":"/","kinds":[],"start_s":null,"end_s":null,"formats":[]}\n']
)
def test_the_process_ends_with_its_owner_and_says_nothing(order: bytes) -> None:
    program = (
        "from sim.view.studio import Studio; import os; child = Studio()._child; "
        "print(child.pid, flush=True); "
        f"os.write(child.stdin.fileno(), {order!r}); os._exit(9)"
    )
    owner = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert owner.stderr == b""  # the studio's as well: it had this open to its end
    try:
        ended = os.pidfd_open(int(owner.stdout))
    except ProcessLookupError:
        return
    try:
        assert select.select([ended], [], [], 20)[0], "the studio outlived its owner"
    finally:
        os.close(ended)
