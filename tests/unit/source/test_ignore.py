"""Tests that ignore files have the same meaning as in git."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smsweep.errors import SourceError
from smsweep.source.collect import collect
from smsweep.source.ignore import Rules

needs_git = pytest.mark.skipif(
    shutil.which("git") is None and "CI" not in os.environ, reason="git, the oracle, is not installed"
)

FOLDERS = ("a", "b", "ab", "c d", "[x]")
FILES = ("f", "a.py", "b.txt", "ab.py", "-", "]", "a b", "x[1]", "!f", "#f", "f ")
SEGMENTS = (
    *("a", "b", "f", "ab", "a.py", "*", "**", "***", "?", "??", "*.py", "a*", "*b", "?.*", "c d", "f\\ ", "\\a"),
    *(
        "[ab]",
        "[!a]",
        "[^a]*",
        "[a-c].py",
        "[c-a]",
        "[]]",
        "[]-]",
        "[a-]",
        "[!]a]*",
        "[[:alpha:]]*",
        "[[:punct:]]",
    ),
    *("[[:nope:]]", "[a", "[\\]]", "[!c-a]", "x\\[1\\]", "\\[x\\]", "\\!f", "\\#f", "a\\", "[x\\-z]", "[--0]"),
)

segments = st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=3).map("/".join)
lines = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(("", "", "!")),
    st.sampled_from(("", "", "/")),
    segments,
    st.sampled_from(("", "", "/")),
    st.sampled_from(("", "", " ", "  ", "\r")),
)
ignore_files = st.lists(st.one_of(lines, st.sampled_from(("", "# a", "!", "/", "*", "!*/"))), max_size=6).map(
    "\n".join
)
folder_names = st.lists(st.sampled_from(FOLDERS), max_size=3).map(
    lambda names: "".join(f"{name}/" for name in names)
)
trees = st.tuples(
    st.sets(st.builds("{}{}".format, folder_names, st.sampled_from(FILES)), min_size=1, max_size=12),
    st.dictionaries(folder_names, ignore_files, max_size=2),
    ignore_files,
)


@pytest.fixture(scope="module")
def repository() -> Path:
    folder = Path(tempfile.mkdtemp())
    subprocess.run(["git", "init", "-q", folder], check=True, env=git_environment())
    return folder / ".git"


def git_environment() -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": os.devnull,
    }


def names_git_keeps(repository: Path, root: Path, names: set[str]) -> set[str]:
    result = subprocess.run(
        ["git", f"--git-dir={repository}", f"--work-tree={root}", "check-ignore", "--no-index", "--stdin", "-z"],
        cwd=root,
        input="\0".join(sorted(names)).encode(),
        capture_output=True,
        env=git_environment(),
    )
    assert result.returncode in (0, 1), result.stderr.decode()
    return names - set(result.stdout.decode().split("\0"))


@pytest.mark.slow
@needs_git
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees)
def test_ignore_files_exclude_the_same_files_as_git(
    repository: Path, tree: tuple[set[str], dict[str, str], str]
) -> None:
    names, ignored_below, ignored_at_root = tree
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        texts = dict.fromkeys(names, "")
        texts |= {f"{below}.gitignore": text for below, text in ignored_below.items()}
        texts |= {".gitignore": ignored_at_root}
        for name, text in texts.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, newline="")
        try:
            collected = {file.name for file in collect(root)}
        except SourceError as err:
            assert "the source is empty" in str(err)
            collected = set()
        assert collected == names_git_keeps(repository, root, set(texts))


@pytest.mark.parametrize(
    ("text", "name", "is_dir", "verdict"),
    [
        ("*\n!*/\n!*.py", "a", True, False),
        ("*\n!*/\n!*.py", "a/b.py", False, False),
        ("*\n!*/\n!*.py", "a/b.txt", False, True),
        ("data/", "data", False, None),
        ("data/", "a/data", True, True),
        ("/data", "a/data", True, None),
        ("a/**/z", "a/z", False, True),
        ("a/**/z", "a/b/c/z", False, True),
        ("*.py\r\n!keep.py\r\n", "keep.py", False, False),
        ("a\\ ", "a ", False, True),
        ("[a", "[a", False, None),
    ],
)
def test_pattern_matches_the_path_itself(text: str, name: str, is_dir: bool, verdict: bool | None) -> None:
    assert Rules().below("", text).verdict(name, is_dir) is verdict


def test_question_mark_matches_one_character() -> None:
    """Unlike in git, which counts bytes, so that `?` does not match `é`."""
    assert Rules().below("", "?.py").verdict("é.py", False) is True


def test_two_stars_inside_a_name_do_not_match_slashes() -> None:
    """As in gitignore(5); git's own shortcut for literal prefixes lets `a**/b` match `ax/y/b`."""
    rules = Rules().below("", "a**/b")
    assert rules.verdict("ax/b", False) is True
    assert rules.verdict("ax/y/b", False) is None
