"""Writes TARGET = SUBSET with the kerning pairs of SOURCE's GPOS table as a `kern` table. Called by build.sh."""

import sys

from fontTools.ttLib import TTFont, newTable
from fontTools.ttLib.tables._k_e_r_n import KernTable_format_0

# Pairs closer to zero than this (thousandths of the letter size) move nothing at the sizes of a kiosk's screen.
LEAST = 12
# A `kern` subtable states its length in 16 bits.
MOST_PAIRS = 10_000


def pair_lookups(font):
    table = font["GPOS"].table
    indices = {i for record in table.FeatureList.FeatureRecord if record.FeatureTag == "kern" for i in record.Feature.LookupListIndex}
    for index in sorted(indices):
        for subtable in table.LookupList.Lookup[index].SubTable:
            subtable = subtable.ExtSubTable if subtable.LookupType == 9 else subtable
            if subtable.LookupType == 2:
                yield subtable


def advance(value):
    return 0 if value is None else getattr(value, "XAdvance", 0) or 0


def pairs(font, glyphs):
    """The first subtable that names a pair decides it, as a shaping engine would."""
    found = {}
    for subtable in pair_lookups(font):
        covered = [name for name in subtable.Coverage.glyphs if name in glyphs]
        if subtable.Format == 1:
            for left in covered:
                records = subtable.PairSet[subtable.Coverage.glyphs.index(left)].PairValueRecord
                for record in records:
                    if record.SecondGlyph in glyphs:
                        found.setdefault((left, record.SecondGlyph), advance(record.Value1))
        else:
            first, second = subtable.ClassDef1.classDefs, subtable.ClassDef2.classDefs
            for left in covered:
                row = subtable.Class1Record[first.get(left, 0)].Class2Record
                for right in glyphs:
                    found.setdefault((left, right), advance(row[second.get(right, 0)].Value1))
    return {pair: value for pair, value in found.items() if abs(value) >= LEAST}


def main():
    source, subset, target = sys.argv[1:]
    font = TTFont(subset)
    # Mapped letters only, under the names that both files share.
    found = pairs(TTFont(source), sorted(set(font.getBestCmap().values())))
    if len(found) > MOST_PAIRS:
        sys.exit(f"{source}: {len(found)} kerning pairs, at most {MOST_PAIRS} fit; raise LEAST")
    table = KernTable_format_0(apple=False)
    table.coverage, table.version, table.tupleIndex, table.kernTable = 1, 0, None, found
    font["kern"] = newTable("kern")
    font["kern"].version, font["kern"].kernTables = 0, [table]
    font["head"].modified = font["head"].created
    font.save(target)
    print(f"{target}: {len(font.getBestCmap())} letters, {len(found)} kerning pairs")


main()
