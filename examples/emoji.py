"""Takes the pairs of Microsoft's Fluent Emoji (flat drawing left, 3D rendering right) apart.

    python examples/emoji.py ../shared/data/emoji --out emoji

writes the renderings to `emoji/3d/SPLIT/NAME.png`, and for `cgan` to `emoji/groups/SPLIT/GROUP/NAME.png`. The groups are
those of Unicode's list of emoji, by name in `emoji-groups.csv`. Existing files stay as they are.
"""

import argparse
import csv
from pathlib import Path

from PIL import Image

GROUPS = Path(__file__).with_name("emoji-groups.csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    with GROUPS.open(encoding="utf-8", newline="") as table:
        groups = {row["name"]: row["group"] for row in csv.DictReader(table)}
    for file in sorted(given.pairs.glob("*/*.png")):
        split = file.parent.name
        with Image.open(file) as pair:
            rendering = pair.crop((pair.width // 2, 0, pair.width, pair.height))
        for folder in (given.out / "3d" / split, given.out / "groups" / split / groups[file.stem]):
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / file.name).exists():
                rendering.save(folder / file.name)


if __name__ == "__main__":
    main()
