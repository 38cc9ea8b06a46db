#!/bin/sh
# Makes NotoSans-Regular.ttf, NotoSans-Bold.ttf and OFL.txt, the screen's letters, from Debian's package of the Noto fonts.
#
# Kept: Basic Latin, Russian, the nine Kazakh letters beside it, the punctuation of the three languages and the tenge sign.
# Left out: everything else, hinting, and the GPOS and GSUB tables; the kerning pairs are kept as a `kern` table, which is
# what the rasteriser (fontdue) reads. Everything is pinned, and a second run gives the same bytes.
# Needs Debian 12 or newer with apt, dpkg-deb, and Python 3.9 or newer with venv. Run it from anywhere.
set -eu

PACKAGE=fonts-noto-core
VERSION=20201225-1
SHA256=58f4f0bb6720f919f92096b3508e1412a0f1544424ade6c5b5bf1eb694dd64ba
FONTTOOLS=4.68.0
# The digits, letters and signs that a text or an operator's help line may use. `screen::text` tests hold it.
UNICODES='U+0020-007E,U+00A0,U+00AB,U+00B7,U+00BB,U+0401,U+0406,U+0410-044F,U+0451,U+0456'
UNICODES="$UNICODES,U+0492,U+0493,U+049A,U+049B,U+04A2,U+04A3,U+04AE-04B1,U+04BA,U+04BB,U+04D8,U+04D9,U+04E8,U+04E9"
UNICODES="$UNICODES,U+2013,U+2014,U+2018,U+2019,U+201C,U+201D,U+2022,U+2026,U+20B8,U+2116"

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

cd "$work"
apt-get -q download "$PACKAGE=$VERSION"
echo "$SHA256  ${PACKAGE}_${VERSION}_all.deb" | sha256sum -c -
dpkg-deb -x "${PACKAGE}_${VERSION}_all.deb" debian
python3 -m venv venv
venv/bin/pip -q install "fonttools==$FONTTOOLS"

for face in Regular Bold; do
    source="debian/usr/share/fonts/truetype/noto/NotoSans-$face.ttf"
    venv/bin/pyftsubset "$source" --unicodes="$UNICODES" --output-file="$face.ttf" \
        --no-hinting --layout-features= --name-IDs=0,1,2,3,4,5,6,13,14 --notdef-outline --drop-tables+=GPOS,GSUB,GDEF
    SOURCE_DATE_EPOCH=0 venv/bin/python "$here/kern.py" "$source" "$face.ttf" "$here/NotoSans-$face.ttf"
done

{
    echo "NotoSans-Regular.ttf and NotoSans-Bold.ttf are subsets of Noto Sans 2.004, from Debian's $PACKAGE $VERSION."
    echo 'Copyright 2010, 2012-2020 Google Inc., 2015-2020 Google LLC.'
    echo
    echo 'This Font Software is licensed under the SIL Open Font License, Version 1.1.'
    echo 'The licence is copied below, and is also available at https://openfontlicense.org'
    echo
    echo 'SIL OPEN FONT LICENSE Version 1.1'
    echo
    sed -n '/^ PREAMBLE$/,/^[^ ]/p' debian/usr/share/doc/$PACKAGE/copyright \
        | sed -e '/^[^ ]/d' -e 's/^ //' -e 's/^\.$//'
} > "$here/OFL.txt"
ls -l "$here"
