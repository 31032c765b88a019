"""The photographs that everybody can install: 31 of five Debian packages. Only their names are here."""

from __future__ import annotations

from pathlib import Path

from chain_of_zoom.errors import MissingError

PACKAGES = (
    "lomiri-wallpapers-16.04",
    "lomiri-wallpapers-20.04",
    "mate-backgrounds",
    "plasma-workspace-wallpapers",
    "lxqt-themes",
)
COMMAND = f"sudo apt-get install -y --no-install-recommends {' '.join(PACKAGES)}"

_LOMIRI = "/usr/share/backgrounds/{}.jpg"
_MATE = "/usr/share/backgrounds/mate/nature/{}.jpg"
_PLASMA = "/usr/share/wallpapers/{}/contents/images/2560x1600.jpg"
_LXQT = "/usr/share/lxqt/wallpapers/{}.png"


def _named(pattern: str, *names: str) -> dict[str, str]:
    return {name: pattern.format(name) for name in names}


# "photos" is what docs/benchmark.md and docs/evidence.md are made from; "more-photos" are for a check on others.
SETS: dict[str, dict[str, str]] = {
    "photos": {
        **_named(_LOMIRI, "Kleiber_by_Lukas_Baubkus", "Dragonfly_by_Bolly", "life_by_Aitzol_Berasategi"),
        **_named(_LOMIRI, "seeding_by_Clements_Engelhardt", "picosdeeuropa_by_Aitzol_Berasategi"),
        **_named(_LOMIRI, "Bridge_by_Sander_Klootwijk", "sunset_by_Aitzol_Berasategi"),
        **_named(_MATE, "LadyBird", "TwoWings", "Wood"),
        **_named(_PLASMA, "OneStandsOut"),
        **_named(_LXQT, "appleflower"),
    },
    "more-photos": {
        **_named(_LOMIRI, "aitzgorri_by_Aitzol_Berasategi", "friends_by_Aitzol_Berasategi", "Wine_by_Jakkub_Mede"),
        **_named(_LOMIRI, "free_by_Peter_Nerlich", "Picture_0B_by_freespace"),
        **_named(_MATE, "Aqua", "Garden", "YellowFlower"),
        **_named(_PLASMA, "BytheWater", "ColdRipple", "ColorfulCups", "EveningGlow", "FallenLeaf", "Path"),
        **_named(_LXQT, "beam", "butterfly", "cloud", "flowers"),
        "after-the-rain": "/usr/share/lxqt/wallpapers/after-the-rain.jpg",
    },
}


def paths(name: str) -> dict[str, Path]:
    """The files of a set by their names, all of them there. Raises MissingError with the command that installs them."""
    found = {key: Path(path) for key, path in SETS[name].items()}
    if absent := [path for path in found.values() if not path.is_file()]:
        raise MissingError(
            f"{len(absent)} of the {len(found)} photos of {name} are not here (first {absent[0]}); accepted: the "
            f"files of {len(PACKAGES)} Debian packages; type: {COMMAND}"
        )
    return found
