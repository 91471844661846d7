// When a track has begun to be seen or heard, before anybody is shown it: pictures by requestVideoFrameCallback, sound
// by packets that arrive.

/** Milliseconds between two looks at the counters. */
const LOOK_MS = 50;
/** Frames decoded without one being presented, in a page that is shown: the browser then presents none. */
const UNPRESENTED = 30;

/**
 * Resolves once the track shows a picture, or carries sound.
 * @param {MediaStreamTrack} track
 * @param {() => Promise<RTCStatsReport>} stats Of that track.
 * @param {AbortSignal} signal Ends the waiting; it then never resolves.
 * @returns {Promise<void>}
 */
export function presented(track, stats, signal) {
  return new Promise((resolve) => {
    const seen = () => {
      stop();
      resolve();
    };
    const stopWatching = track.kind === 'video' ? watch(track, seen) : () => {};
    const stopCounting = count(stats, (more) => {
      if (track.kind === 'audio' || document.hidden ? more > 0 : more >= UNPRESENTED) seen();
    });
    const stop = () => {
      stopWatching();
      stopCounting();
    };
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
  });
}

/**
 * Plays the track where nobody sees it.
 * @param {MediaStreamTrack} track
 * @param {() => void} seen
 */
function watch(track, seen) {
  const element = document.createElement('video');
  element.muted = true;
  element.playsInline = true;
  element.srcObject = new MediaStream([track]);
  const asked = element.requestVideoFrameCallback(seen);
  element.play().catch(() => {}); // The counters tell where a page may not play.
  return () => {
    element.cancelVideoFrameCallback(asked);
    element.pause();
    element.srcObject = null;
  };
}

/**
 * @param {() => Promise<RTCStatsReport>} stats
 * @param {(more: number) => void} tell How many frames or packets have come since the first look.
 */
function count(stats, tell) {
  let first = -1;
  let looking = false;
  const timer = setInterval(async () => {
    if (looking) return;
    looking = true;
    try {
      const now = arrivedIn(await stats());
      if (first < 0) first = now;
      tell(now - first);
    } catch {
      // The connection closed: whoever waits is told otherwise.
    }
    looking = false;
  }, LOOK_MS);
  return () => clearInterval(timer);
}

/** @param {RTCStatsReport} report */
function arrivedIn(report) {
  for (const each of report.values()) {
    if (each.type === 'inbound-rtp') return each.kind === 'video' ? each.framesDecoded ?? 0 : each.packetsReceived ?? 0;
  }
  return 0;
}
