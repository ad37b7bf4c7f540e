"""What `latewood neo4j` decides before and beside the server itself; programs that fail are scripts that fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from latewood.clients.neo4j_local import Wanted, down, server, status, up
from latewood.clients.neo4j_local.assembly import assemble, library
from latewood.clients.neo4j_local.configuration import Configuration, checked_folder, checked_size
from latewood.clients.neo4j_local.home import Home, Note, data_folder
from latewood.clients.neo4j_local.java import Java, find_java, find_maven, java_version
from latewood.clients.neo4j_local.locks import locked
from latewood.clients.neo4j_local.probe import Answer, ask, free_port, require_free, speaks_bolt
from latewood.clients.neo4j_local.processes import Process, born, children, start_detached, stop
from latewood.clients.neo4j_local.releases import RELEASES, release, release_for
from latewood.graph_schema.errors import ConflictError, InvalidError, LatewoodError, UnavailableError

LTS = release("5.26.30")


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def java(folder: Path, said: str) -> Path:
    script(folder / "bin" / "java", f"echo 'openjdk version \"{said}\"' >&2")
    return folder


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is nobody's business."""
    with subprocess.Popen(["sleep", "600"]) as running:
        yield running
        running.kill()


@pytest.mark.parametrize(("said", "version"), [
    ('openjdk version "17.0.15" 2026-01-20', 17), ('java version "1.8.0_402"', 8), ('openjdk version "25" 2025-09-16', 25),
    ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "21.0.2"', 21), ("command not found", None),
])  # fmt: skip
def test_the_version_of_a_java_is_read_from_what_it_says(said: str, version: int | None) -> None:
    assert java_version(said) == version


def test_a_supported_java_goes_before_a_newer_one_wherever_they_are(tmp_path: Path) -> None:
    machines = tmp_path / "jvm"
    java(machines / "b-17", "17.0.1")
    newer = java(machines / "a-25", "25")

    found = find_java(LTS, {"JAVA_HOME": str(newer), "PATH": ""}, (machines,))
    assert found == Java(machines / "b-17", 17)


def test_a_newer_java_is_taken_where_there_is_no_supported_one(tmp_path: Path) -> None:
    java(tmp_path / "8", "1.8.0_402")
    java(tmp_path / "25", "25")

    assert find_java(LTS, {"PATH": ""}, (tmp_path,)).version == 25


def test_a_java_that_is_too_old_is_named_with_the_way_out(tmp_path: Path) -> None:
    old = java(tmp_path / "old", "11.0.2")
    script(tmp_path / "broken" / "bin" / "java", "exit 1")

    with pytest.raises(UnavailableError) as refused:
        find_java(LTS, {"JAVA_HOME": str(tmp_path / "broken"), "PATH": str(old / "bin")}, ())
    assert refused.value.code == "java.missing"
    assert "Java 11" in refused.value.message
    assert "apt-get install openjdk-17-jre-headless maven" in refused.value.message


def test_without_java_or_maven_the_error_says_how_to_install_them(tmp_path: Path) -> None:
    with pytest.raises(
        UnavailableError, match=r"none was found.*apt-get install openjdk-21-jre-headless maven"
    ) as java_:
        find_java(release("2026.08.1"), {"PATH": str(tmp_path)}, ())
    with pytest.raises(UnavailableError, match="apt-get install openjdk-17-jre-headless maven") as maven:
        find_maven({"PATH": str(tmp_path)})

    assert (java_.value.code, maven.value.code) == ("java.missing", "maven.missing")


@pytest.mark.parametrize("version", RELEASES)
def test_each_release_has_a_pom_that_pins_it(version: str) -> None:
    space = {"m": "http://maven.apache.org/POM/4.0.0"}
    pinned = {
        one.findtext("m:artifactId", namespaces=space): one.findtext("m:version", namespaces=space)
        for one in ET.parse(release(version).pom).getroot().iterfind(".//m:dependency", space)  # noqa: S314 - our own
    }

    assert pinned["neo4j-server"] == version
    assert pinned["neo4j-browser"] == "5.24.0"
    assert all(pinned.values())


@pytest.mark.parametrize(("asked", "kept", "taken"), [
    (None, None, "5.26.30"), ("2026.08.1", None, "2026.08.1"), (None, "2026.08.1", "2026.08.1"),
    (None, "5.26.12", "5.26.30"), ("5.26.30", "5.26.30", "5.26.30"), (None, "2026.01.0", "2026.08.1"),
    ("2026.08.1", "5.26.30", None), ("5.26.30", "2026.08.1", None), (None, "5.26.99", None), (None, "4.4.1", None),
])  # fmt: skip
def test_a_home_is_only_opened_by_a_release_that_leaves_it_what_it_is(
    asked: str | None, kept: str | None, taken: str | None
) -> None:
    if taken is None:
        with pytest.raises(ConflictError) as refused:
            release_for(asked, kept)
        assert refused.value.code == "neo4j.other_version"
    else:
        assert release_for(asked, kept).version == taken


def test_a_version_that_is_not_pinned_is_refused_with_those_that_are() -> None:
    with pytest.raises(InvalidError, match=r"5\.26\.30, 2026\.08\.1"):
        release("4.4.0")


def test_the_conf_keeps_to_loopback_and_to_what_was_chosen(tmp_path: Path) -> None:
    text = Configuration(tmp_path, 1234, 5678, "1g", "512m").text()
    settings = dict(line.split("=", 1) for line in text.splitlines() if not line.startswith("#"))

    assert settings["server.default_listen_address"] == "127.0.0.1"
    assert settings["server.bolt.listen_address"] == settings["server.bolt.advertised_address"] == "127.0.0.1:1234"
    assert settings["server.http.listen_address"] == "127.0.0.1:5678"
    assert settings["server.memory.heap.max_size"] == "1g"
    assert settings["server.memory.pagecache.size"] == "512m"
    assert settings["dbms.usage_report.enabled"] == settings["client.allow_telemetry"] == "false"
    assert settings["server.directories.lib"] == str(tmp_path)
    assert settings["server.directories.import"] == "import"


@pytest.mark.parametrize("words", ["", "1", "0m", "1.5g", "1g\nx=y", "-1g", "1t", "1234567m"])
def test_what_is_no_size_is_refused(words: str) -> None:
    with pytest.raises(InvalidError) as refused:
        checked_size(words, "--heap")
    assert refused.value.code == "setting.invalid"


@pytest.mark.parametrize("name", ["a:b", "a*", "a\\b", "a\nb"])
def test_a_folder_that_java_would_misread_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidError) as refused:
        checked_folder(tmp_path / name)
    assert refused.value.code == "setting.invalid"
    assert checked_folder(tmp_path / "a b") == tmp_path / "a b"


def test_a_taken_port_and_one_that_is_none_are_refused_by_the_option_to_change() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InvalidError, match="is taken; name another with --bolt-port, or 0"):
            require_free(taken.getsockname()[1], "--bolt-port")
    for port in (-1, 70_000):
        with pytest.raises(InvalidError, match="is no port"):
            require_free(port, "--http-port")


def test_where_nobody_listens_nothing_answers() -> None:
    port = free_port()

    assert ask(port, "whatever") is Answer.NOT_YET
    assert not speaks_bolt(port)


def test_a_process_is_known_by_its_start_too(sleeper: subprocess.Popen[bytes]) -> None:
    since = born(sleeper.pid)
    assert since is not None
    assert Process(sleeper.pid, since).alive

    stranger = Process(sleeper.pid, since + "0")
    assert not stranger.alive
    assert stop([stranger], seconds=0.5)
    assert sleeper.poll() is None


def test_a_dead_process_that_nobody_has_buried_is_gone(sleeper: subprocess.Popen[bytes]) -> None:
    since = born(sleeper.pid)
    assert since is not None
    os.kill(sleeper.pid, signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)

    assert not Process(sleeper.pid, since).alive


def test_what_is_started_detached_is_found_and_stopped_with_its_children(tmp_path: Path) -> None:
    log = tmp_path / "log"
    words = ["/bin/sh", "-c", "echo begun; sleep 600 & wait"]
    parent = start_detached(words, log=log, folder=tmp_path, environment=os.environ)
    while not (found := children(parent)):
        time.sleep(0.01)

    assert log.read_text(encoding="utf-8") == "begun\n"
    assert os.getsid(parent.pid) != os.getsid(0)
    assert stop([parent, *found], seconds=10)
    assert not parent.alive
    assert not found[0].alive


def test_what_does_not_end_when_asked_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    deaf = start_detached([sys.executable, "-c", code], log=log, folder=tmp_path, environment=os.environ)
    while not log.read_text(encoding="utf-8"):
        time.sleep(0.01)

    assert not stop([deaf], seconds=0.3)
    assert not deaf.alive


def test_down_never_stops_a_stranger_with_the_same_id(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    home = Home(tmp_path)
    home.make()
    home.write_note(Note("5.26.30", 1, 2, "Java 17", (Process(sleeper.pid, "another start"),)))

    assert status(tmp_path).running is False
    stopped = down(tmp_path)
    assert (stopped.running, stopped.stopped, stopped.killed) == (False, False, False)
    assert sleeper.poll() is None
    assert home.note() is None


def test_down_and_status_leave_no_home_where_none_was(tmp_path: Path) -> None:
    assert not down(tmp_path / "none").stopped
    assert not status(tmp_path / "none").running
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"processes": [{}]}', "null"])
def test_a_note_that_cannot_be_read_names_no_process(text: str, tmp_path: Path) -> None:
    (tmp_path / "latewood.json").write_text(text, encoding="utf-8")

    assert Home(tmp_path).note() is None


def test_the_password_is_made_once_and_kept_for_its_owner(tmp_path: Path) -> None:
    home = Home(tmp_path)
    made = home.choose_password(None)
    assert made != home.choose_password(None)
    home.keep_password(made)

    assert home.choose_password(None) == made
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600
    assert home.choose_password("another one") == "another one"


@pytest.mark.parametrize("password", ["short", "", "ends in blank ", "längeres", "two\nlines!", "x" * 200])
def test_a_password_that_would_not_arrive_is_refused_and_not_repeated(password: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidError) as refused:
        Home(tmp_path).choose_password(password)
    assert refused.value.code == "setting.invalid"
    assert not password or password not in refused.value.message


def test_a_lost_password_of_a_database_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "data" / "databases").mkdir(parents=True)

    with pytest.raises(InvalidError, match="give its password with --password"):
        Home(tmp_path).choose_password(None)


def test_the_words_that_set_the_password_do_not_stay(tmp_path: Path) -> None:
    with Home(tmp_path).initial_password('a"b\\c defg') as words:
        assert words.read_text(encoding="utf-8") == '-- "a\\"b\\\\c defg"\n'
        assert words.stat().st_mode & 0o777 == 0o600

    assert list(tmp_path.iterdir()) == []


def test_the_tail_of_a_log_is_bounded(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.tail() == ""
    home.make()
    home.log.write_text("".join(f"line {n}\n" for n in range(100_000)), encoding="utf-8")

    assert home.tail().splitlines() == [f"line {n}" for n in range(99_985, 100_000)]


def test_the_users_folder_is_the_one_of_the_desktop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert data_folder() == tmp_path / "latewood" / "neo4j"

    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/ada")
    assert data_folder() == Path("/home/ada/.local/share/latewood/neo4j")


def test_a_failed_assembly_says_what_maven_said_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script(
        tmp_path / "bin" / "mvn", 'for w; do d="${w#-DoutputDirectory=}"; done; : > "$d/half.jar"; echo no net; exit 1'
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    with pytest.raises(UnavailableError, match=r"exit code 1.*no net") as refused:
        assemble(tmp_path / "jars", LTS, Java(tmp_path, 17))
    assert refused.value.code == "neo4j.assembly_failed"
    assert [one.name for one in (tmp_path / "jars").iterdir()] == [".5.26.30.lock"]


def test_a_maven_that_succeeds_without_the_server_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(tmp_path / "bin" / "mvn", "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    with pytest.raises(UnavailableError) as refused:
        assemble(tmp_path / "jars", LTS, Java(tmp_path, 17))
    assert refused.value.code == "neo4j.assembly_failed"
    assert library(tmp_path / "jars", LTS) is None


def test_what_a_killed_assembly_left_is_cleared_and_never_taken_for_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    jars = tmp_path / "jars"
    left = jars / ".part-5.26.30-killed"
    left.mkdir(parents=True)
    (left / LTS.mark).touch()
    assert library(jars, LTS) is None
    copy = 'for w; do d="${w#-DoutputDirectory=}"; done; : > "$d/neo4j-server-5.26.30.jar"'
    script(tmp_path / "bin" / "mvn", copy)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    assert assemble(jars, LTS, Java(tmp_path, 17)) == jars / "5.26.30"
    assert sorted(one.name for one in jars.iterdir()) == [".5.26.30.lock", "5.26.30"]


def test_a_lock_that_is_held_is_waited_for_and_then_refused(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        locked(lock, seconds=1), pytest.raises(UnavailableError) as refused, locked(lock, seconds=0.2),
    ):  # fmt: skip
        raise AssertionError
    assert refused.value.code == "store.busy"
    with locked(lock, seconds=0):
        pass


@pytest.mark.parametrize(("wanted", "code"), [
    ({"version": "1.0"}, "setting.invalid"), ({"heap": "lots"}, "setting.invalid"),
    ({"page_cache": "0"}, "setting.invalid"), ({"bolt_port": 70_000}, "setting.invalid"),
    ({"password": "short"}, "setting.invalid"), ({"bolt_port": 4001, "http_port": 4001}, "setting.invalid"),
])  # fmt: skip
def test_what_cannot_be_honoured_is_refused_before_anything_is_fetched(
    wanted: dict[str, object], code: str, tmp_path: Path
) -> None:
    given: dict[str, object] = {"bolt_port": 0, "http_port": 0, **wanted}
    with pytest.raises(LatewoodError) as refused:
        up(Wanted(tmp_path / "home", jars=tmp_path / "jars", **given))  # type: ignore[arg-type]
    assert refused.value.code == code
    assert not (tmp_path / "jars").exists()


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").touch()

    with pytest.raises(InvalidError) as refused:
        up(Wanted(tmp_path / "home", jars=tmp_path / "jars"))
    assert refused.value.code == "file.unreadable"


def test_the_usual_ports_are_those_of_neo4j() -> None:
    assert (server.BOLT_PORT, server.HTTP_PORT) == (7687, 7474)


def test_a_note_of_a_dead_process_is_dropped_though_nobody_collected_it(tmp_path: Path) -> None:
    note = tmp_path / "run" / "neo4j.pid"
    note.parent.mkdir()
    home = Home(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        note.write_text(str(process.pid), encoding="ascii")
        home.bury()
        assert note.exists(), "it still runs"
        process.kill()
        while born(process.pid) is not None:
            time.sleep(0.01)
        home.bury()
        assert not note.exists()
    note.write_text("nonsense", encoding="ascii")
    home.bury()
    assert note.exists()
