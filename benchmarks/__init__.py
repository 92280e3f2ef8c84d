"""How fast the operations are on this machine: ``make bench``, or ``python -m pytest -c benchmarks/pytest.ini benchmarks``.

``bench_<operation>.py`` holds what is compared and how many bytes the operation has to move, ``cases.py`` the maps,
``measure.py`` builds and checks what is measured, ``timing.py`` and ``memory.py`` measure it, ``results.py`` is the file that keeps
the results, ``table.py`` puts them side by side.
"""
