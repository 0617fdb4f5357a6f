"""What an operator does to one job: cancel, retry, replay, dismiss.

It needs a connection, the publish prefix of the job's queue and the job's id: neither a contract nor a generated package.
"""
