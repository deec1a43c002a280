"""Plans a run on devices that this machine does not have: `jaxssl plan`.

targets.py         the devices to plan for, and JAX devices that stand for them
assumed_rows.py    the rows of the run, which may not exist yet
counts.py          what is known from shapes alone: parameters, FLOPs, bytes
refusals.py        runs that cannot work: the reason, and a way out
measure.py         compiles the step, and reads the program by means of
  program_text.py    the parsed text of a compiled program
  collectives.py     what devices send to each other
  traffic.py         what a device moves from and to its memory
  replication.py     what is replicated although it should be sharded
  estimate.py        the shortest possible time of a step
plan.py            puts all of it together: `make_plan`, `largest_microbatch`
page.py            the plan as text, and as JSON
"""
