"""Version texts of boards, images and modems."""

import pytest

from bridge.fota.versions import modem_release, same_version, version_triple


@pytest.mark.parametrize(
    ("text", "triple"),
    [
        ("2.0.0", (2, 0, 0)),
        ("2.0.0+7", (2, 0, 0)),
        ("v1.99.0-12-gabc", (1, 99, 0)),
        ("v2.0.0-preview1", (2, 0, 0)),
        ("", None),
        ("unknown", None),
        (None, None),
    ],
)
def test_major_minor_revision_are_found(text: str | None, triple: tuple[int, int, int] | None) -> None:
    assert version_triple(text) == triple


def test_a_build_number_does_not_tell_versions_apart_because_the_board_does_not_print_it() -> None:
    assert same_version("v1.2.3", "1.2.3+4")


def test_unreadable_versions_never_agree() -> None:
    assert not same_version(None, None)
    assert not same_version("x", "x")


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("mfw_nrf91x1_2.0.2", "2.0.2"),
        ("mfw_nrf9160_1.3.6", "1.3.6"),
        ("nrf91x1_2.0.4", "2.0.4"),
        ("2.0.1", "2.0.1"),
        ("mfw_nrf91x1_2.0.2-FOTA-TEST", "2.0.2-FOTA-TEST"),
        (None, None),
        ("nrf9160", None),
    ],
)
def test_the_release_of_a_modem_version_is_found(text: str | None, release: str | None) -> None:
    assert modem_release(text) == release
