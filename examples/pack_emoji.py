"""Makes the archive of the built-in emoji: a part of the pairs of Microsoft's Fluent Emoji, evenly spaced by name, as WebP.

python examples/pack_emoji.py ../shared/data/emoji docs/LICENSE-fluent-emoji.txt src/diptych/data/builtin/emoji.zip
"""

import sys
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from PIL import Image

PAIRS = {"train": 820, "val": 60}
QUALITY = 85


def main() -> None:
    pairs, licence, archive = map(Path, sys.argv[1:])
    with ZipFile(archive, "w") as packed:
        packed.writestr(ZipInfo("LICENSE.txt"), licence.read_bytes())  # without the time, so that it is the same again
        for split, count in PAIRS.items():
            files = sorted((pairs / split).glob("*.png"))
            for file in (files[index * len(files) // count] for index in range(count)):
                content = BytesIO()
                with Image.open(file) as pair:
                    pair.convert("RGB").save(content, "WEBP", quality=QUALITY, method=6)
                packed.writestr(ZipInfo(f"{split}/{file.stem}.webp"), content.getvalue())


if __name__ == "__main__":
    main()
