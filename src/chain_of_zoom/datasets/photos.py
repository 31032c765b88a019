"""Names 31 photographs of five Debian packages, which everybody can install."""

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


def _list_files(pattern: str, *names: str) -> dict[str, str]:
    return {name: pattern.format(name) for name in names}


# "photos" is what docs/benchmark.md and docs/evidence.md are made from; "more-photos" are for a check on others.
SETS: dict[str, dict[str, str]] = {
    "photos": {
        **_list_files(_LOMIRI, "Kleiber_by_Lukas_Baubkus", "Dragonfly_by_Bolly", "life_by_Aitzol_Berasategi"),
        **_list_files(_LOMIRI, "seeding_by_Clements_Engelhardt", "picosdeeuropa_by_Aitzol_Berasategi"),
        **_list_files(_LOMIRI, "Bridge_by_Sander_Klootwijk", "sunset_by_Aitzol_Berasategi"),
        **_list_files(_MATE, "LadyBird", "TwoWings", "Wood"),
        **_list_files(_PLASMA, "OneStandsOut"),
        **_list_files(_LXQT, "appleflower"),
    },
    "more-photos": {
        **_list_files(_LOMIRI, "aitzgorri_by_Aitzol_Berasategi", "friends_by_Aitzol_Berasategi", "Wine_by_Jakkub_Mede"),
        **_list_files(_LOMIRI, "free_by_Peter_Nerlich", "Picture_0B_by_freespace"),
        **_list_files(_MATE, "Aqua", "Garden", "YellowFlower"),
        **_list_files(_PLASMA, "BytheWater", "ColdRipple", "ColorfulCups", "EveningGlow", "FallenLeaf", "Path"),
        **_list_files(_LXQT, "beam", "butterfly", "cloud", "flowers"),
        "after-the-rain": "/usr/share/lxqt/wallpapers/after-the-rain.jpg",
    },
}


def find_photos(name: str) -> dict[str, Path]:
    """Return the files of a set by their names. Raises MissingError, with the command to type, where one is absent."""
    files = {key: Path(path) for key, path in SETS[name].items()}
    if absent := [path for path in files.values() if not path.is_file()]:
        raise MissingError(
            f"{len(absent)} of the {len(files)} photos of {name} are not here (first {absent[0]}); accepted: the "
            f"files of {len(PACKAGES)} Debian packages; type: {COMMAND}"
        )
    return files
