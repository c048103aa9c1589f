"""apt with a configuration and lists of its own: any suite of Debian, from the mirrors that this machine knows.

The machine's lists, its cache and what is installed stay as they are, and no privileges are needed. What the machine's
configuration says of proxies and credentials holds here, too. Only what Debian's own keys have signed counts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from swaplab.cache import cache_dir
from swaplab.errors import SwaplabError
from swaplab.files import scratch_directory
from swaplab.process import run, with_parent

__all__ = ["Apt", "Bars", "Progress", "Source", "apt", "run_command", "silent", "sources"]

Progress = Callable[[int, int], None]
"""Called with what is done and what there is in all, now and then."""
Bars = Callable[[str], Progress]
"""Called with what is begun; returns what is told of its progress."""

KEYRINGS: Final = tuple(Path(f"/usr/share/keyrings/debian-archive-keyring.{suffix}") for suffix in ("gpg", "pgp"))
SUITES: Final = (
    "oldstable", "oldstable-backports", "stable", "stable-backports", "testing", "unstable", "experimental",
)  # fmt: skip
SECURITY_SUITES: Final = ("oldstable-security", "stable-security")
INDEX = re.compile(r"^'(\S+?)/?/dists/(\S+)/InRelease'", re.MULTILINE)
# What apt is told to do after each update is for the machine's lists.
HOOKS: Final = ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success")
FIELD = re.compile(r"^([\w-]+): (.*)$", re.MULTILINE)
PROGRESS = re.compile(r"dlstatus:\d+:([\d.]+):")
# apt's messages if a mirror has no such suite, if it is another party's, or if Debian no longer keeps it up.
NOT_DEBIANS: Final = ("does not have a Release file", "is not signed", "is expired")
ENVIRONMENT: Final = {"LC_ALL": "C"}


def silent(_what: str) -> Progress:
    """Report nothing."""
    return lambda _done, _total: None


class Source(NamedTuple):
    """A suite on a mirror."""

    uri: str
    suite: str


def sources() -> list[Source]:
    """Return the suites that may have kernels: those of the machine's own sources, and others on the same mirrors.

    Not all of them need to be there, or to be Debian's.

    Raises:
        SwaplabError: there is no apt.
    """
    own = [Source(*found) for found in INDEX.findall(run_command("apt-get", "update", "--print-uris"))]
    security = {source.uri for source in own if source.suite.endswith("-security")}
    others = [
        Source(uri, suite)
        for uri in dict.fromkeys(source.uri for source in own)
        for suite in (SECURITY_SUITES if uri in security else SUITES)
    ]
    return list(dict.fromkeys([*own, *others]))


class Apt:
    """apt, for one suite."""

    def __init__(self, directory: Path, keyring: Path, source: Source) -> None:
        self._directory = directory
        self._lists = directory / "lists"
        listed = f"deb [signed-by={keyring} arch=amd64 target=Packages] {source.uri} {source.suite} main\n"
        (directory / "sources.list").write_text(listed)
        (directory / "apt.conf").write_text("".join(f"#clear APT::Update::{hook};\n" for hook in HOOKS))
        self._options = [f"--config-file={directory / 'apt.conf'}"]
        for name, value in {
            "Dir::State": directory,
            "Dir::State::lists": self._lists,
            "Dir::State::status": "/dev/null",
            "Dir::Cache": directory / "cache",
            "Dir::Etc::sourcelist": directory / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "-",
            "Acquire::AllowInsecureRepositories": "false",
            "Acquire::GzipIndexes": "false",
            "Acquire::Languages": "none",
            "APT::Status-Fd": 1,
        }.items():
            self._options += ["-o", f"{name}={value}"]

    def update(self) -> bool:
        """Fetch the suite's lists; return whether it is there, Debian's, and kept up.

        Raises:
            SwaplabError: they cannot be fetched.
        """
        # The lists in apt's own form are not used.
        said, status = self._run(silent("lists"), "update", "--error-on=any", "-o", "pkgCacheFile::Generate=false")
        if status and not any(each in said for each in NOT_DEBIANS):
            raise _failed("apt-get update", self._directory, said)
        return not status

    def packages(self, prefix: str) -> Iterator[dict[str, str]]:
        """Yield the fields (deb-control(5)), by name, of each listed package whose name begins so."""
        for path in self._lists.glob("*_Packages"):
            for paragraph in path.read_text(errors="replace").split("\n\n"):
                if paragraph.startswith(f"Package: {prefix}"):
                    yield dict(FIELD.findall(paragraph))

    def release(self) -> str:
        """Return what the suite is called now, such as oldstable."""
        text = "".join(path.read_text() for path in self._lists.glob("*_InRelease"))
        found = re.search(r"^Suite: (\S+)$", text, re.MULTILINE)
        return found[1] if found else ""

    def download(self, packages: list[str], told: Progress) -> list[Path]:
        """Fetch packages, each as ``name=version``; return their files.

        Raises:
            SwaplabError: the mirror lacks one, or it is not what the lists say.
        """
        said, status = self._run(told, "download", *packages)
        if status:
            raise _failed(f"apt-get download {' '.join(packages)}", self._directory, said)
        return sorted(self._directory.glob("*.deb"))

    def _run(self, told: Progress, *arguments: str) -> tuple[str, int]:
        """Run apt-get; return what it said, but for its progress, and its status."""
        said = []
        with subprocess.Popen(  # noqa: S603
            [find("apt-get"), "-qq", *self._options, *arguments],
            cwd=self._directory,
            env=os.environ | ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=with_parent(),  # noqa: PLW1509 - it calls prctl only
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            try:
                for line in process.stdout:
                    if match := PROGRESS.match(line):
                        told(round(float(match[1])), 100)
                    else:
                        said.append(line)
            except BaseException:
                process.kill()
                raise
        return "".join(said), process.returncode


@contextmanager
def apt(source: Source) -> Iterator[Apt]:
    """Yield apt for a suite, without lists yet, in a directory that is gone afterwards.

    Raises:
        SwaplabError: Debian's keys are not here.
    """
    keyring = next((each for each in KEYRINGS if each.is_file()), None)
    if keyring is None:
        raise SwaplabError(f"no {KEYRINGS[0]}, by which packages are checked: apt-get install debian-archive-keyring")
    with scratch_directory(cache_dir()) as directory:
        for each in ("lists", "cache"):
            (directory / each).mkdir()
        yield Apt(directory, keyring, source)


def find(command: str) -> str:
    """Return the path of a command of Debian's.

    Raises:
        SwaplabError: it is missing.
    """
    found = shutil.which(command)
    if found is None:
        raise SwaplabError(f"fetching packages of Debian needs {command}; --kernel takes a kernel of your own")
    return found


def run_command(*command: str, directory: Path | None = None) -> str:
    """Run a command of Debian's, in a directory; return what it printed.

    Raises:
        SwaplabError: it is missing, or fails.
    """
    done = run([find(command[0]), *command[1:]], directory)
    if done.returncode:
        raise _failed(" ".join(command), directory, done.stderr)
    return done.stdout


def _failed(command: str, directory: Path | None, said: str) -> SwaplabError:
    where = f" in {directory}" if directory else ""
    return SwaplabError(f"{command} failed{where}: {' '.join(said.split())[-1000:]}")
