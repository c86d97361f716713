"""Writes made-up DICOM studies and reads segmentations, by pydicom, highdicom and dcmqi only: nothing of ours is in it.

    python study.py write OUT MASK.nii.gz [REFERENCE.nii.gz] [options]   a study as a hospital would have it
    python study.py many OUT N [options]                                 many small objects, fast
    python study.py read SEG [options]                                   a SEG as pydicom and as highdicom see it
    python study.py dcmqi SEG OUT                                        a SEG as dcmqi sees it

Every verb prints what it did as one JSON object. Folders are made; equal arguments give equal studies.
"""

import argparse
import json
import sys
import warnings

# it lies in a checkout, which keeps no compiled Python
sys.dont_write_bytecode = True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)

    write = verbs.add_parser("write")
    write.add_argument("out")
    write.add_argument("mask", help="label map of the MR, VerSe's numbers")
    write.add_argument("reference", nargs="?", help="label map of the paired CT, on any grid")
    write.add_argument("--seg", default="binary", choices=["binary", "labelmap", "fractional", "none"])
    write.add_argument("--seg-syntax", default="plain", choices=["plain", "rle", "jpegls"])
    write.add_argument("--overlap", action="store_true", help="segments of the MR (binary) reach into the next one")
    write.add_argument("--ct", default="same-study", choices=["same-study", "second-study"])
    write.add_argument("--traps", default="", help="names with commas, or `all`: see traps.py")
    write.add_argument("--syntax", default="explicit", choices=["explicit", "implicit", "deflated", "rle", "jpegls"])
    write.add_argument("--thickness", type=float, default=0.8, help="SliceThickness by the distance of slices")
    write.add_argument("--spacing-between", action="store_true", help="the MR has SpacingBetweenSlices, a true one")
    write.add_argument("--turn", default="0,0,0", help="degrees about R, A and S by which both maps are turned first")
    write.add_argument("--seed", type=int, default=0)

    many = verbs.add_parser("many")
    many.add_argument("out")
    many.add_argument("number", type=int)
    many.add_argument("--size", type=int, default=16, help="rows and columns")
    many.add_argument("--slices", type=int, default=20, help="objects a series")
    many.add_argument("--series", type=int, default=4, help="series a study; each study has a patient of its own")
    many.add_argument("--seed", type=int, default=0)

    read = verbs.add_parser("read")
    read.add_argument("seg")
    read.add_argument("--nifti", metavar="FOLDER", help="writes segment-<number>.nii.gz, each 0 and 1, pydicom's view")
    read.add_argument("--against", metavar="NIFTI", help="counts the voxels that differ from this label map's")
    read.add_argument("--labels", default="20,21,22,23,24,25", help="its labels of L1, L2, … in order of level")
    read.add_argument("--turn", default="0,0,0", help="degrees by which it is turned first, as in `write`")

    dcmqi = verbs.add_parser("dcmqi")
    dcmqi.add_argument("seg")
    dcmqi.add_argument("out")

    arguments = parser.parse_args()
    if "turn" in arguments:
        arguments.turn = [float(angle) for angle in arguments.turn.split(",")]
    # values that are odd on purpose are warned of at length, and stdout and stderr are for tests
    warnings.filterwarnings("ignore")
    # which of the tools are needed is the verb's matter: importing them takes seconds
    if arguments.verb == "write":
        from writing import write as act
    elif arguments.verb == "many":
        from many import many as act
    elif arguments.verb == "read":
        from reading import read as act
    else:
        from reading import dcmqi as act
    json.dump(act(arguments), sys.stdout)
    print()


if __name__ == "__main__":
    main()
