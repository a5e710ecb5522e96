"""What workers of the tests do instead of reading a picture, importable by name."""

import os
import signal
import time
from collections.abc import Callable

from facesim_index.web.service.picture_worker import (
    UploadReading,
    UploadSettings,
    UploadTask,
    make_upload_reader,
)

HANG, CRASH, EAT = b"hang", b"crash", b"eat"


def make_moody_reader(settings: UploadSettings) -> Callable[[UploadTask], UploadReading]:
    """Return what reads uploads, but hangs, crashes or eats memory when they say so."""
    read = make_upload_reader(settings)

    def moody(task: UploadTask) -> UploadReading:
        if task.data == HANG:
            time.sleep(600)
        if task.data == CRASH:
            os.kill(os.getpid(), signal.SIGSEGV)
        if task.data == EAT:
            return read(UploadTask(bytes(3 << 30)[:0], pictures=False))
        return read(task)

    return moody
