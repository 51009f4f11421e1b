"""Whether a prompt fits, by bounds, against the tokenizer itself."""
from __future__ import annotations

import random

import pytest
from tiny_policy import make_policy

from looptool.config_file import ROOT
from looptool.prompts.length import CHECKED, PromptFits, load_tokenizer, token_length
from looptool.prompts.render import render_sample
from looptool.simulation.heldout import heldout_samples

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["student", "bytes"])
def tokenizer(request, tmp_path_factory):
    """The student's, and one without merges or splits at line ends."""
    folder = (ROOT / "grpotool/tiny_student/checkpoint" if request.param == "student"
              else make_policy(tmp_path_factory.mktemp("p")))
    return load_tokenizer(str(folder))


def test_same_answers_as_the_tokenizer(tokenizer):
    length, fits, rng = token_length(tokenizer), PromptFits(tokenizer), random.Random(0)
    chats = [render_sample(sample) for sample in heldout_samples(200)]
    near = 0
    for chat in chats:
        exact = length(chat)
        assert exact <= fits.bound(chat)
        for limit in (exact - 1, exact, exact + rng.randint(1, 400)):
            near += exact > limit
            assert fits(chat, limit) == (exact <= limit)
    assert near == len(chats)


def test_the_tokenizer_is_asked_near_the_limit_only(tokenizer, monkeypatch):
    fits, asked = PromptFits(tokenizer), []
    exact = fits._length
    monkeypatch.setattr(fits, "_length", lambda chat: asked.append(1) or exact(chat))
    chats = [render_sample(sample) for sample in heldout_samples(CHECKED + 50)]
    assert all(fits(chat, 10**5) for chat in chats) and len(asked) == CHECKED
    assert not fits(chats[0], 50) and len(asked) == CHECKED + 1


def test_a_bound_that_fails_is_not_used_again(tokenizer, monkeypatch):
    """A tokenizer that joins text across line ends in an odd way: a line by itself seems to have no
    tokens."""
    fits, chat = PromptFits(tokenizer), render_sample(next(heldout_samples(1)))
    monkeypatch.setattr(fits, "_count_lines", lambda text: -1000)
    assert not fits(chat, 5) and not fits(chat, 5)
