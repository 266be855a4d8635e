"""Frames in the film's order -> one encoded part a segment. No torch.

`write` and `seal` may be called from two threads: the first touches the encoder, the second the run folder.
"""

import numpy as np

from memflow_cli.film.events import SegmentDone
from memflow_cli.film.run_folder import RunFolder
from memflow_cli.film.video import PartWriter
from memflow_cli.story.plan import FilmPlan, SegmentPlan


class FilmParts:
    """Frames in the film's order -> a part a segment, beginning with the first segment that is not finished."""

    def __init__(self, plan: FilmPlan, run: RunFolder) -> None:
        self._plan = plan
        self._run = run
        self._segment = len(run.parts)
        self._frame = plan.geometry.num_frames(self.start_chunk)  # of the film, the next to come
        self._writer: PartWriter | None = None

    @property
    def start_chunk(self) -> int:
        """The first chunk of the segment at hand: frames are wanted from here on."""
        return self._plan.num_chunks if self.are_complete else self._plan.segments[self._segment].start_chunk

    @property
    def seconds(self) -> float:
        """The film's time at which the next frame is shown."""
        return self._frame / self._plan.fps

    @property
    def are_complete(self) -> bool:
        return self._segment == len(self._plan.segments)

    def write(self, frames: np.ndarray) -> list[SegmentPlan]:
        """Frames [F, height, width, 3] uint8. Returns the segments that they complete: their parts are to be sealed."""
        complete = []
        while len(frames):
            assert not self.are_complete, "more frames than the plan has"
            count = min(len(frames), self._end - self._frame)
            self._writer = self._writer or self._begin(self._plan.segments[self._segment])
            self._writer.write(frames[:count])
            self._frame += count
            frames = frames[count:]
            if self._frame == self._end:
                complete += self._close_segment()
        return complete

    @property
    def _end(self) -> int:
        """The film's frame with which the segment at hand ends."""
        segment = self._plan.segments[self._segment]
        return segment.start_frame + segment.num_frames

    def _close_segment(self) -> list[SegmentPlan]:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._segment += 1
        return [self._plan.segments[self._segment - 1]]

    def grow(self, plan: FilmPlan) -> list[SegmentPlan]:
        """The film's plan has grown, or its last segment got another length. Returns the segments that this completes."""
        self._plan = plan
        return self._close_segment() if not self.are_complete and self._frame == self._end else []

    def seal(self, segment: SegmentPlan) -> SegmentDone:
        """Marks a complete segment as finished in the run folder; returns what there is to tell of it."""
        self._run.seal(segment.index)
        return SegmentDone(segment, self._run.part_path(segment.index))

    def _begin(self, segment: SegmentPlan) -> PartWriter:
        return PartWriter(self._run.part_path(segment.index), self._plan.width, self._plan.height, self._plan.fps)

    def kill(self) -> None:
        """Ends the encoder at hand, so that nobody waits for it; `abort` is still to come."""
        if (writer := self._writer) is not None:
            writer.kill()

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.abort()
