"""Films on a Ray cluster: a driver hands them out, workers make them, each in a process that holds one loaded model.

order      a film to be made, and what is told of it
policy     which film goes to which worker: pure functions
lease      one writer for one film
nodes      the same memflow, torch and disk on every machine
worker     what runs in a worker's process
mirror     a run folder without a shared disk, brought back chunk by chunk
cluster    Ray; nothing else here knows it
farm       the driver's loop
"""
