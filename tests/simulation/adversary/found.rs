//! Strategies that broke a promise once, as small as they became. What the search finds belongs here when it is mended.

/// Each with a name.
pub(super) const FOUND: &[(&str, &str)] = &[
    (
        "of five, who copies another one's words in each answer is served alone",
        "seed 1
        world min-sources=1
        honest
        honest
        honest
        honest
        liar offset=10 copies=each
        order 4 0 1 2 3",
    ),
    (
        "the same where two are wanted: no time",
        "seed 154538
        world rounds=33
        honest
        honest
        honest
        liar offset=-5 copies=each
        liar
        order 3 4 0 1 2",
    ),
    (
        "of three, who copies one upstream's words and sways",
        "seed 616206
        honest
        honest rtt=0.03
        liar swing=0.03 dispersion=0.005 copies=one
        order 2 0 1",
    ),
    (
        "of two, who copies the other one's words is served alone",
        "seed 512151
        honest
        liar offset=-5 copies=each
        order 1 0",
    ),
    (
        "two that follow one server and say so to 128 s: their order counts",
        "seed 680779
        honest kin=yes
        honest kin=yes
        honest",
    ),
    (
        "one that is 25 ms off, claims nothing and seems 40 us away, beside two of 30 ms",
        "seed 2
        honest delay=0.04 dispersion=0.01
        honest delay=0.05 dispersion=0.01
        liar offset=0.025 delay=0 dispersion=0 seems=0.00004",
    ),
    (
        "the same beside one",
        "seed 2
        honest delay=0.04 dispersion=0.01
        liar offset=0.028 delay=0 dispersion=0 seems=0.00004",
    ),
    (
        "one that walks away from two within what they claim, with a plain claim of its own",
        "seed 236416
        honest
        honest
        liar drift-ppm=-200 rtt=0.0002",
    ),
    (
        "the same, seemingly 1 us away",
        "seed 762186
        honest
        honest
        liar drift-ppm=-80 seems=0.000001",
    ),
    (
        "one that sways within what two claim",
        "seed 998387
        world minpoll=4 iburst=no
        honest
        honest
        liar swing=-0.0057 rtt=0.004",
    ),
    (
        "of five, two that sway and walk together",
        "seed 20
        honest dispersion=0.02 error=-0.2
        honest
        honest error=0.5
        liar drift-ppm=860 swing=0.045 seems=0.00001
        liar drift-ppm=860 swing=0.045 seems=0.00001",
    ),
    (
        "of two, one that goes on drifting away fast",
        "seed 560490
        honest
        liar drift-ppm=400 rtt=0.0002",
    ),
    (
        "of two, one that repeats old answers, and then nobody is reached any more",
        "seed 948957
        world rounds=20 minpoll=4 silent=0.4
        honest
        liar offset=-10 trick=replay every=4",
    ),
    (
        "of two, one that is 30 ms off when nobody is reached any more",
        "seed 3
        world silent=0.4
        honest
        liar offset=-0.03",
    ),
    (
        "of two, one that walks away slowly before nobody is reached any more",
        "seed 2
        world rounds=24 minpoll=4 silent=0.5
        honest jitter=0.09
        liar drift-ppm=-40",
    ),
    (
        "after a sleep the first who answers is believed: of two",
        "seed 1
        world rounds=8
        honest
        liar offset=0.01
        event what=sleep",
    ),
    (
        "after a sleep the first who answers is believed: of three, where one is enough",
        "seed 1022291
        world min-sources=1
        honest
        honest
        liar
        then from=10 offset=0.2
        event at=0.39 what=sleep",
    ),
    (
        "the raw counter jumps by 200 ms against all others",
        "seed 35090
        honest
        honest
        honest
        event what=raw by=0.2",
    ),
    (
        "the raw counter jumps by 1 ms",
        "seed 69883
        honest
        honest rtt=0.00008 delay=0.00008 error=0.4
        honest
        event what=raw by=0.001",
    ),
    (
        "a liar that agrees with a vague honest one elsewhere than the other does: no time",
        "seed 693915
        world minpoll=4
        honest rtt=0.0003
        honest
        liar offset=0.006 skew=0.7",
    ),
    (
        "the same, 26 ms off",
        "seed 883763
        world minpoll=4
        honest
        honest delay=0.03
        liar offset=-0.026",
    ),
    (
        "the same, walking away slowly",
        "seed 998387
        world rounds=33 minpoll=4
        honest delay=0.06
        honest
        liar drift-ppm=-40",
    ),
    (
        "the raw counter jumps twice, and the second jump looks like the pace of the first",
        "seed 53930
        world
        honest
        honest
        liar
        event at=0.87 what=raw by=0.07
        event at=0.8779153728391975 what=raw by=0.08
        order 0 1 2",
    ),
    (
        "it jumps right after a sleep, when no pace was known",
        "seed 13457
        world
        honest
        honest
        liar
        event at=0.1 what=sleep
        event what=others by=0.08
        event what=raw by=0.1
        order 0 1 2",
    ),
    (
        "it jumps while two contradict each other and the last time goes on",
        "seed 462155
        world iburst=no
        honest
        liar
        then from=24 offset=20
        event what=raw
        event at=0.8 what=raw by=0.1
        order 0 1",
    ),
    (
        "after two sleeps in a row all are asked once, and the liar answers first",
        "seed 846680
        world rounds=28 minpoll=4 iburst=no
        honest
        liar
        then from=9 swing=0.02
        event at=0.41 what=sleep
        event at=0.42 what=others by=-0.3
        order 0 1",
    ),
    (
        "old samples tell a wrong frequency after a jump",
        "seed 149988
        world minpoll=4
        honest rtt=0.00005 skew=-0.8 delay=0.00001 dispersion=0.00003 error=-0.5
        honest jitter=0.005
        honest dispersion=0.02 noise=0.08
        liar
        then from=21 drift-ppm=-900
        event at=0.6 what=raw by=0.01
        order 0 1 2 3",
    ),
    (
        "the liars of five answer first",
        "seed 49501
        world
        honest
        honest
        honest
        liar swing=-0.006 rtt=0.0004
        liar swing=-0.006 rtt=0.0004
        order 0 1 2 3 4",
    ),
    (
        "two that copy, and the order decided whom they join",
        "seed 413148
        world
        honest rtt=0.03
        honest
        honest
        liar copies=one
        liar drift-ppm=1400 skew=0.3 copies=each
        order 0 1 2 3 4",
    ),
    (
        "after a sleep, and then silence: those that answered at once are no majority of all that used to",
        "seed 109712
        world minpoll=4 longer=1 silent=0.832953939139843
        honest
        honest loss=0.06
        honest
        honest
        liar drift-ppm=4000
        liar drift-ppm=90 rtt=0.0005
        liar drift-ppm=90 rtt=0.0005 jitter=0.0002
        event at=0.8207787761464715 what=sleep by=0.008
        order 0 1 2 3 4 5 6",
    ),
];
