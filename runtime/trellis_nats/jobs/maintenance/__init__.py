"""What a service does beside its jobs: it shows its workers, finds lost jobs, and clears ended ones away.

`presence` is every worker's own. `reconciler` and `purger` are the duties, which one instance holds by a `leaseholder`.
What they decide is in `lease`, `judgement`, `openness` and `retention`, which are pure; `host` runs them all.
"""
