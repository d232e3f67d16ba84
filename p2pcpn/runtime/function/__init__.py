"""The ``function`` runtime: cloudpickled functions in warm native worker processes, one group per owner and project.

::

    peer (asyncio; loads no pickle)                runtime.FunctionRuntime: which batch runs in which worker
      │ control: fork, kill, remove                link.WorkerLink: the peer's end of one worker
      ├──────────────► zygote (one thread)         zygote.Zygote: forks workers in 2 ms, reaps and avenges them
      │                  │ fork                    launch: starts a zygote by exec or by an early fork
      │ batches, results ▼                         progress.Page: what runs now, readable after a SIGKILL
      └──────────────► worker                      worker.Worker: loads functions, runs tasks, reports columns

Only members of a keyed swarm and trusted keys get here: a worker is a process of the peer's user, not a sandbox.
"""
