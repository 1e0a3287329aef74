"""More machines than one: Dask's scheduler and workers, and what edgecvx asks of them.

``with connect("tls://host:8786") as cluster:`` gives a :class:`edgecvx.cluster.handle.Cluster`. Only functions of this
package are run on workers, by name; files reach them by hash, once each; a worker that is lost loses no work.
"""
