"""Run a command as an array of tasks, watch it, say why it failed.

`arguments` reads Kaldi's command line, `task` runs one task with its log and result, `local` runs an array
on this machine, `ssh` on several, `slurm` on a cluster, `result` is what a task leaves behind, `report` is
what the user sees.

For Slurm: `slurm_conf` reads conf/slurm.conf, `submission` is on disk what was submitted, `slurm_sender`
submits it, `slurm_task` runs a task on its node, `slurm_step` one process of a task on several nodes,
`slurm_queue` asks squeue, `slurm_verdict` judges what became of a task, `slurm_resume` goes on after a killed
submitter, `slurm_client` calls Slurm's commands.
Standard library only, Python 3.9 or later.
"""
