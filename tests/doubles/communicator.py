"""A stand-in for an MPI communicator, for tests in one process."""


class Alike:
    """A communicator of n ranks that are all alike: each sends what this one does."""

    def __init__(self, n, rank=0):
        self.n, self.rank = n, rank

    def Get_size(self):
        return self.n

    def Get_rank(self):
        return self.rank

    def Iallgatherv(self, x, received):
        buffer, sizes = received
        assert sum(sizes) == buffer.size
        flat = buffer.reshape(-1)
        for r in range(self.n):
            begin = sum(sizes[:r])
            flat[begin : begin + sizes[r]] = x.reshape(-1)[: sizes[r]]
        return self

    def Iallgather(self, x, buffer):
        buffer[:] = x
        return self

    def Ialltoall(self, parts, received):
        received[:] = parts[self.rank]
        return self

    def Test(self):
        return True
