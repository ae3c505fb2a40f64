import shlex
from pathlib import Path

from floq.shell import quoted


def test_words_stay_what_they_are():
    """A path with spaces or quotes is one word of the printed command; a plain one stays plain."""
    words = ["floq", "report", Path("runs/my run's"), "-o", Path("$HOME;ls")]
    assert shlex.split(quoted(*words)) == [str(word) for word in words]
    assert quoted("floq", "resume", Path("runs/cube")) == "floq resume runs/cube"
