"""Makes emoji.zip: pictures of Noto Color Emoji at 64x64 with their English and Chinese names.

    pip install emoji pillow
    python data/emoji/make_emoji.py [NotoColorEmoji.ttf]

The font comes with Debian's and Ubuntu's package fonts-noto-color-emoji, the names (Unicode CLDR) with the Python package
`emoji`. Left out: the same picture in other skin tones, and signs that this version of the font does not know. The archive holds
`names.json`, a list of {"sign", "en", "zh"}, and the picture of entry n as `n.webp` (lossy, with transparency). The same
font, packages and script give the same bytes.
"""

import io
import json
import sys
import zipfile
from pathlib import Path

import emoji
from PIL import Image, ImageDraw, ImageFont

SOURCE = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
TARGET = Path(__file__).with_name("emoji.zip")
SIZE, STRIKE = 64, 109  # pixels of a stored picture; the one size at which the font has pictures, 136 x 128
SKIN_TONES = range(0x1F3FB, 0x1F400)
QUALITY = 80
UNKNOWN_FLAG = "\U0001f1fd\U0001f1fd"  # there is no country XX: the font's flag with a question mark


def picture(sign: str, font: ImageFont.FreeTypeFont) -> Image.Image | None:
    """The sign as a transparent square of SIZE pixels; None if the font draws it as several signs, or not at all."""
    left, top, right, bottom = font.getbbox(sign)
    if right - left > 1.2 * (bottom - top) or right <= left:
        return None
    side = max(right - left, bottom - top)
    sheet = Image.new("RGBA", (side, side))
    corner = ((side - right + left) // 2 - left, (side - bottom + top) // 2 - top)
    ImageDraw.Draw(sheet).text(corner, sign, font=font, embedded_color=True)
    if sheet.getchannel("A").getextrema()[1] < 255 or len(sheet.getcolors(2**16) or range(99)) < 3:
        return None  # nothing, or the box that stands for a missing sign
    return sheet.convert("RGBa").resize((SIZE, SIZE), Image.Resampling.LANCZOS).convert("RGBA")


def main() -> None:
    """Writes the archive."""
    emoji.config.load_language("zh")
    font = ImageFont.truetype(sys.argv[1] if len(sys.argv) > 1 else SOURCE, STRIKE, layout_engine=ImageFont.Layout.RAQM)
    unknown = picture(UNKNOWN_FLAG, font)
    names, pictures = [], []
    for sign, data in sorted(emoji.EMOJI_DATA.items()):
        if data["status"] != emoji.STATUS["fully_qualified"] or any(ord(c) in SKIN_TONES for c in sign):
            continue
        image = picture(sign, font)
        if image is None or image == unknown:
            print("left out:", data["en"])
            continue
        packed = io.BytesIO()
        image.save(packed, "WEBP", quality=QUALITY, method=6)
        pictures.append(packed.getvalue())
        names.append({"sign": sign} | {key: data[key].strip(":").replace("_", " ") for key in ("en", "zh")})
    with zipfile.ZipFile(TARGET, "w") as archive:  # stored: WebP is compressed
        files = {f"{n}.webp": packed for n, packed in enumerate(pictures)}
        files["names.json"] = json.dumps(names, ensure_ascii=False, indent=0).encode()
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    print(f"wrote {TARGET.name}: {len(names)} pictures, {TARGET.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
