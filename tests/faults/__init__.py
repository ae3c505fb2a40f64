"""What is done to floq to see that nothing is ever lost: `python -m tests.faults --help`.

Each row of the table in docs/log/faults.md does one kind of harm to the real program and says what
must hold. The tests of pytest draw a few trials of each row, `make test-faults` draws all of them.
"""
