"""A plan on many machines: Dask's scheduler maps it, on workers that need nothing but swaplab.

A worker gets what a recording's files hold once, as the scheduler hands it on from one that has it; a lost worker's
variants are done again by others. What they come to is taken in the order of the plan, and kept here.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from swaplab.cache import cache_dir
from swaplab.errors import InputError, SwaplabError
from swaplab.files import write_whole
from swaplab.scenario.model import Scenario
from swaplab.study.plan import Variant
from swaplab.study.run import AHEAD, Map, Summarise, Task, code, in_order
from swaplab.study.share import versions
from swaplab.study.table import Summary

__all__ = ["Cluster", "cluster"]

Client: TypeAlias = Any  # Dask's, where it is installed
Future: TypeAlias = Any
SECONDS: Final = 30
"""In which a scheduler has to answer, and after which no worker is waited for any more."""
_LOCAL: Final = re.compile(r"local:([1-9][0-9]{0,3})")
_ADDRESS: Final = re.compile(r"(tcp|tls)://[^/\s]+:[0-9]+")
_busy = threading.Lock()


class Cluster(NamedTuple):
    """A scheduler with its workers.

    Attributes:
        mapped: what runs variants there.
        dashboard: address of the page that shows what it does; may be empty.
    """

    mapped: Map
    dashboard: str


class Files(NamedTuple):
    """The files that a scenario reads.

    Attributes:
        digest: of all of it.
        base: the scenario's directory on the machine that it comes from, an absolute path.
        contents: by absolute path there.
    """

    digest: str
    base: str
    contents: dict[str, bytes]


@contextmanager
def cluster(where: str) -> Iterator[Cluster]:
    """Yield a cluster: ``local:4``, which starts so many workers here, or the scheduler at ``tcp://HOST:PORT``.

    Raises:
        InputError: something else, or no scheduler answers there.
        SwaplabError: Dask is not installed; when a map is iterated, the workers have another swaplab, one variant has
            ended several of them, or none is left.
    """
    local = _LOCAL.fullmatch(where)
    if not local and not _ADDRESS.fullmatch(where):
        raise InputError("--cluster", "local:WORKERS or tcp://HOST:PORT", repr(where))
    with ExitStack() as stack:
        client = stack.enter_context(_local(int(local[1])) if local else _remote(where))
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "Sending large graph")  # a recording, once
        yield Cluster(_Mapping(client, is_local=bool(local)), client.dashboard_link or "")


def _distributed() -> Any:  # noqa: ANN401 - a module
    try:
        import distributed  # noqa: PLC0415 - an extra
    except ImportError:
        raise SwaplabError("--cluster takes Dask, which is not installed: pip install 'swaplab[cluster]'") from None
    return distributed


@contextmanager
def _local(workers: int) -> Iterator[Client]:
    """Start workers on this machine, of one thread each, which end with this process."""
    distributed = _distributed()
    options = {"n_workers": workers, "threads_per_worker": 1, "silence_logs": logging.CRITICAL}
    made = distributed.LocalCluster(**options, dashboard_address="127.0.0.1:0")
    with made, distributed.Client(made) as client:
        yield client


@contextmanager
def _remote(address: str) -> Iterator[Client]:
    distributed = _distributed()
    try:
        client = distributed.Client(address, timeout=SECONDS)
    except (OSError, ValueError) as error:
        raise InputError("--cluster", "the address of a scheduler that answers", f"{address} ({error})") from None
    with client:
        yield client


class _Mapping:
    """A `Map` on a cluster."""

    def __init__(self, client: Client, *, is_local: bool) -> None:
        self._client = client
        self._is_local = is_local
        self._latest: tuple[object, Future | None] = (None, None)

    def __call__(self, task: Task, variants: Iterable[Variant]) -> Iterator[Summary]:
        """Run variants there; what is known here is not run again."""

        def start(variant: Variant) -> _Known | _Sent:
            known = task.known(variant) if isinstance(task, Summarise) else None
            return _Known(known) if known else _Sent(self._client, self._sent(task, variant), task, variant)

        return in_order(start, variants, AHEAD * self._workers())

    def _workers(self) -> int:
        try:
            self._client.wait_for_workers(1, timeout=SECONDS)
        except TimeoutError:
            raise SwaplabError(f"no worker has come to the scheduler within {SECONDS} s") from None
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def _sent(self, task: Task, variant: Variant) -> Future:
        files = None if self._is_local else self._files(variant.scenario)
        return self._client.submit(run_there, task, variant, files, code(), pure=False)

    def _files(self, scenario: Scenario) -> Future | None:
        """Return what the scenario reads, on its way to the workers; variants of the same one share it."""
        found = (scenario.base, versions(scenario))
        if found != self._latest[0]:
            files = _read(scenario)
            self._latest = (found, self._client.submit(_unchanged, files, key=f"swaplab-{files.digest}"))
        return self._latest[1]


class _Known(NamedTuple):
    summary: Summary

    def result(self) -> Summary:
        return self.summary


class _Sent(NamedTuple):
    client: Client
    future: Future
    task: Task
    variant: Variant

    def result(self) -> Summary:
        """Wait for it, as long as there is a worker."""
        distributed = _distributed()
        while True:
            try:
                summary: Summary = self.future.result(timeout=SECONDS)
            except distributed.TimeoutError:
                if not self.client.scheduler_info(n_workers=-1)["workers"]:
                    raise SwaplabError("no worker is left; run it again, what is done is kept") from None
            except (distributed.CancelledError, distributed.comm.CommClosedError):
                raise SwaplabError("the scheduler has gone; run it again, what is done is kept") from None
            except distributed.KilledWorker:
                settings = ", ".join(f"{key}={value}" for key, value in self.variant.settings.items()) or "a variant"
                raise SwaplabError(f"workers have ended again and again while they ran {settings}") from None
            else:
                if isinstance(self.task, Summarise):
                    self.task.keep(self.variant, summary)
                return summary


# On a worker ----------------------------------------------------------------------------------------------------------


def run_there(task: Task, variant: Variant, files: Files | None, expected: bytes) -> Summary:
    """Run a variant on a worker, with its files as they were sent.

    Raises:
        SwaplabError: this is not the swaplab that asked; or see `Summarise`.
    """
    if code() != expected:
        raise SwaplabError("--cluster: a worker has another swaplab than this one")
    with _busy:  # what variants share is for one at a time
        return task(variant if files is None else _moved(variant, files))


def _unchanged(files: Files) -> Files:
    return files


def _read(scenario: Scenario) -> Files:
    """Read all that a scenario does.

    Raises:
        InputError: a file has an absolute name.
        OSError: it cannot be read.
    """
    names = [str(name) for name, *_ in versions(scenario)]
    for name in names:
        if Path(name).is_absolute():
            expected = "files named relative to the scenario, which --cluster sends"
            raise InputError(scenario.source, expected, name)
    base = _whole(scenario.base)
    contents = {_whole(scenario.base / name): (scenario.base / name).read_bytes() for name in names}
    digest = hashlib.sha256(repr((base, sorted(contents))).encode(errors="surrogateescape"))
    for path in sorted(contents):
        digest.update(hashlib.sha256(contents[path]).digest())
    return Files(digest.hexdigest(), base, contents)


def _whole(path: Path) -> str:
    return os.path.normpath(path.absolute())


def _moved(variant: Variant, files: Files) -> Variant:
    """Return the variant with its files in the cache of this machine, under a root of their own."""
    root = cache_dir() / "sent" / files.digest
    for path, data in files.contents.items():
        target = root / path.lstrip("/")
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with write_whole(target, 0o600) as partial:
                partial.write_bytes(data)
    base = root / files.base.lstrip("/")
    base.mkdir(parents=True, exist_ok=True)
    return Variant(
        variant.settings, msgspec.structs.replace(variant.scenario, base=base), variant.seed, variant.baseline
    )
