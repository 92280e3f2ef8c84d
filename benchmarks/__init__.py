"""How fast the operations are on this machine: ``make bench``, or ``python -m pytest -c benchmarks/pytest.ini benchmarks``.

``bench_<operation>.py`` holds what is compared and how many bytes the operation has to move, ``cases.py`` the maps,
``measure.py`` what one measurement is, ``results.py`` the file that keeps it, ``report.py`` the tables and figures of ``docs``.
"""
