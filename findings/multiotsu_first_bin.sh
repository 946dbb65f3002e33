#!/bin/sh
# scikit-image's threshold_multiotsu counts the first bin of the histogram with the level 1 instead of 0.
#
# Otsu's criterion, the variance between classes, does not depend on where grey levels start. In scikit-image 0.26.0 the
# first moment of the first bin is its share instead of 0, so that the lowest threshold moves where that bin is well
# filled and there are few bins: an image of 16 grey levels whose darkest level is common splits after level 6 instead of
# 4. `threshold_otsu` of the same package, and an exhaustive search, give 4. For the same levels times 17 one bin is a
# seventeenth of a level, and the result is right. Mended by pull request 8252 of scikit-image, open when this was
# written.
#
# Prints the thresholds of both; exits 1 if they are no longer as below.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scikit-image==0.26.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import skimage
from skimage.filters import threshold_multiotsu, threshold_otsu

counts = np.array([1497, 0, 13, 81, 282, 432, 374, 161, 160, 213, 296, 271, 176, 94, 40, 6])
image = np.repeat(np.arange(16, dtype=np.uint8), counts)


def variance_between(last):
    dark = image <= last
    return dark.sum() * (~dark).sum() * (image[dark].mean() - image[~dark].mean()) ** 2


found = {
    "exhaustive search": max(range(15), key=variance_between),
    "threshold_otsu": int(threshold_otsu(image)),
    "threshold_multiotsu, 16 levels": int(threshold_multiotsu(image, 2)[0]),
    "threshold_multiotsu, the levels times 17": int(threshold_multiotsu(17 * image, 2)[0]) // 17,
}
print(f"scikit-image {skimage.__version__}, numpy {np.__version__}")
print("last level of the darker class (of 0 to 15):")
for name, last in found.items():
    print(f"  {name}: {last}, share {np.mean(image <= last):.3f}")
sys.exit(list(found.values()) != [4, 4, 6, 4])
PYTHON
# Output:
# scikit-image 0.26.0, numpy 2.4.6
# last level of the darker class (of 0 to 15):
#   exhaustive search: 4, share 0.457
#   threshold_otsu: 4, share 0.457
#   threshold_multiotsu, 16 levels: 6, share 0.654
#   threshold_multiotsu, the levels times 17: 4, share 0.457
