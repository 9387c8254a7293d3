"""The decision tree of Galaxy Zoo 2 (Willett et al. 2013, table 2), by the catalogues' names."""

from galmorph.heads.votes import Question

FEATURED = "smooth-or-featured_featured-or-disk"
FACE_ON = "disk-edge-on_no"
SPIRAL = "has-spiral-arms_yes"

GZ2_QUESTIONS = (  # t01 to t11, with what the label says of each answer
    Question(
        *("smooth-or-featured", ("smooth", "featured-or-disk", "artifact")),
        words=("smooth", "featured", "artifact"),
    ),
    Question("disk-edge-on", ("yes", "no"), FEATURED, ("edge-on", "")),
    Question("bar", ("yes", "no"), FACE_ON, ("barred", "")),
    Question("has-spiral-arms", ("yes", "no"), FACE_ON, ("spiral", "")),
    Question(
        "bulge-size",
        ("no", "just-noticeable", "obvious", "dominant"),
        FACE_ON,
        ("no bulge", "small bulge", "obvious bulge", "dominant bulge"),
    ),
    Question("something-odd", ("yes", "no"), words=("odd", "")),
    Question(
        "how-rounded",
        ("round", "in-between", "cigar"),
        "smooth-or-featured_smooth",
        ("round", "in between", "cigar-shaped"),
    ),
    Question(
        "odd-feature",
        ("ring", "lens-or-arc", "disturbed", "irregular", "other", "merger", "dust-lane"),
        "something-odd_yes",
        ("ring", "lens or arc", "disturbed", "irregular", "", "merger", "dust lane"),
    ),
    Question(
        "bulge-shape",
        ("round", "boxy", "no-bulge"),
        "disk-edge-on_yes",
        ("round bulge", "boxy bulge", "no bulge"),
    ),
    Question("spiral-winding", ("tight", "medium", "loose"), SPIRAL, ("tight", "medium", "loose")),
    Question(
        "spiral-arm-count",
        ("1", "2", "3", "4", "more-than-4", "cant-tell"),
        SPIRAL,
        ("one arm", "two arms", "three arms", "four arms", "many arms", ""),
    ),
)
GZ2_CODES = (*range(1, 25), 38, *range(25, 35), 36, 37)  # of answers (a01, ...) in the catalogues
