"""Makes the Chinese font that the course's figures use: a subset of Noto Sans CJK SC with the characters the course needs.

    python data/fonts/make_subset.py [NotoSansCJK-Regular.ttc]

The characters: every Chinese character and full-width sign that stands in course_utils (the caption grammar among it), in
the lessons or in the book, the commonest characters of written Chinese and the field's terms below. The source font comes
with Debian's and Ubuntu's package fonts-noto-cjk; its licence, SIL OFL 1.1, lies beside the result. The family gets a name
of its own, so that a full Noto font on one machine cannot make its figures differ from another's.
Needs fonttools (matplotlib brings it). The same source font and text give the same bytes.
"""

import re
import sys
from pathlib import Path

from fontTools import subset, ttLib

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
TARGET = Path(__file__).with_name("NotoSansCJKsc-subset.otf")
FAMILY = "Noto Sans CJK SC Course"
CHINESE = re.compile("[\u3001-\u3011\u4e00-\u9fff\uff01-\uff5e\uffe5]")
SIGNS = "、。〈〉《》「」『』【】！（），．：；？＝～＋－％"

COMMON = """
的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如都
同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很
最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走
义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马
科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运
笔图画红橙黄绿蓝紫青粉黑灰棕褐金银圆方块三角星菱环十字心半月六边正六角五角矩形梯椭弧线条纹实空描轮廓填充背景左右上下旁边央角落顶底靠近远
大小巨微型号只个张两双三四五六七八九百千零颗枚枝朵棵座片面格栅棋盘渐变纯网斜竖横粗细深浅亮暗彩鲜淡
"""
TERMS = """
噪声图像模型训练生成提示词条件引导步数种子像素分辨率准确保真多样性判别器生成器编码解码潜空间变量先验后验证据下界散度似然期望方差均值概率密度
分布采样梯度损失学习率批次轮优化动量权重偏置卷积池化激活函数归一注意力头层残差嵌入词元分词扩散流匹配速度轨迹欧拉休恩蒸馏量化剪枝缓存掩码自
回归并行对抗稳定崩塌插值隐变量重建误差压缩倍率曲线区间基线测试数据集世界场景物体标题说明错误警告绘制用时秒毫兆字节内存显卡处理运算次数英汉语
"""


def wanted() -> str:
    """The characters of the subset, sorted: those that the course's sources hold, and the lists above."""
    sources = [
        *(ROOT / "course_utils").rglob("*.py"),
        *(ROOT / "notebooks").glob("*.ipynb"),
        *(ROOT / "book").glob("*.md"),
    ]
    text = "".join(path.read_text(encoding="utf-8") for path in sources) + COMMON + TERMS + SIGNS
    return "".join(sorted(set(CHINESE.findall(text))))


def licence() -> str:
    """The licence text as Debian's package states it, with the font's own copyright line."""
    text = Path("/usr/share/doc/fonts-noto-cjk/copyright").read_text(encoding="utf-8")
    body = text.split("License: SIL-1.1\n")[-1].split("\nLicense: ")[0]
    return re.sub(r"^ (\.$)?", "", body, flags=re.MULTILINE).strip() + "\n"


def main() -> None:
    """Writes the subset and its licence beside this script."""
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE
    if not source.exists():
        sys.exit(f"{source} is missing: install the package fonts-noto-cjk, or name the font's file.")
    number = next(
        n for n, font in enumerate(ttLib.TTCollection(source)) if font["name"].getDebugName(1) == "Noto Sans CJK SC"
    )
    font = ttLib.TTFont(source, fontNumber=number, recalcTimestamp=False)
    options = subset.Options(hinting=False, layout_features=[], name_IDs=[0, 1, 2, 4, 5, 6, 7, 8, 13, 14])
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=wanted())
    subsetter.subset(font)
    for record in font["name"].names:
        if record.nameID in (1, 4):
            record.string = FAMILY
        elif record.nameID == 6:
            record.string = FAMILY.replace(" ", "")
    font["CFF "].cff.fontNames[0] = FAMILY.replace(" ", "")
    font.save(TARGET)
    head = f"{TARGET.name} is a subset of Noto Sans CJK SC, made by {Path(__file__).name}, under the licence below.\n"
    head += font["name"].getDebugName(0) + " Noto is a trademark of Google Inc.\n\n"
    TARGET.with_name("OFL.txt").write_text(head + licence(), encoding="utf-8")
    print(f"{TARGET.name}: {len(wanted())} characters, {TARGET.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
