"""Many agents on one sweep: handed to a cluster, fed by a queue, left behind on a server."""
