"""The workshop that attacks: everything that is kept, sent or published, by whoever may try.

    attack.py     what an attack is, how hard it tries, and how it says that it did not run
    result.py     what an attack found: figures with intervals, what was promised, the verdict
    ground.py     what is attacked: recordings, tables of every level, models made anew
    attacks/      one attack a file
    systems/      whose features are attacked: ours, and others' through one small protocol
    planted/      bugs put in on purpose, each of which a named attack must catch
    suite.py      all attacks in order; running.py carries them out, each in a process of its own
    report/       one page, Markdown and JSON; compare.py sets two runs side by side

Rules it upholds: it is a leaf: it may import every room, and no room imports it. An attack says
*not run* with its reason rather than pass for want of material.
"""
