// Runs in the page: one participant made of the SDK, a camera that shows a known colour, a microphone that hums a known
// tone, and measurements of what the others' media become here. Evaluated as a script; leaves `window.peer`.
(() => {
  const connections = [];
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    constructor(...args) {
      super(...args);
      connections.push(this);
    }
  };

  let socket;
  window.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      socket = this;
    }
  };

  const remotes = new Map(); // 'participant/source' -> what is measured of it
  const slots = new Map(); // track id -> frames, for the slots that are watched across owners
  const log = [];
  const doubled = []; // times at which two tracks of one person's microphone could have been heard
  let overlap = 0; // milliseconds for which sound of two of them came out, which may be what was under way
  const plain = []; // [codec, the first bytes in base64] of our own frames in the clear
  let call, audio, sdk, flash;

  const now = () => performance.timeOrigin + performance.now();
  const idOf = participant => (typeof participant === 'object' ? participant.id : participant);

  /** A humming microphone and a camera of one colour over a moving grey bar; `lips` flashes and beeps at one instant. */
  function media({ tone = 440, colour = '#c00000', lips = false, video = true } = {}) {
    const stream = new MediaStream();
    const oscillator = new OscillatorNode(audio, { frequency: tone });
    const gain = new GainNode(audio, { gain: lips ? 0 : 0.3 });
    const sink = audio.createMediaStreamDestination();
    oscillator.connect(gain).connect(sink);
    oscillator.start();
    stream.addTrack(sink.stream.getAudioTracks()[0]);
    if (!video) return stream;
    const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 });
    const paint = canvas.getContext('2d');
    let count = 0, lit = false;
    const draw = () => {
      count += 1;
      paint.fillStyle = lips ? (lit ? '#fff' : '#000') : colour;
      paint.fillRect(0, 0, 640, 360);
      paint.fillStyle = '#808080';
      paint.fillRect((count * 8) % 640, 270, 60, 90); // something moves, so that every frame has bits to send
    };
    draw();
    setInterval(draw, 33);
    if (lips) {
      flash = () => {
        lit = true;
        gain.gain.value = 0.8;
        draw();
        setTimeout(() => { lit = false; gain.gain.value = 0; }, 250);
      };
    }
    stream.addTrack(canvas.captureStream().getVideoTracks()[0]);
    return stream;
  }

  /** Milliseconds for which the SDK keeps a track alive behind its successor. */
  const LINGER = 1000;

  /**
   * Plays a remote track and measures it. Like a page, it leaves the old picture until the new one is there; the frames
   * of both are one row. Old sound stays for as long, so that it would be heard if it were not silenced.
   */
  function receive(participant, source, track) {
    const key = `${idOf(participant)}/${source}`;
    const old = remotes.get(key);
    if (track && old?.track === track) return;
    if (old && !track) retire(old);
    else if (old && track.kind === 'audio') setTimeout(() => retire(old), LINGER);
    remotes.delete(key);
    if (!track) return;
    const element = document.createElement(track.kind);
    Object.assign(element, { autoplay: true, playsInline: true, muted: track.kind === 'video', srcObject: new MediaStream([track]) });
    document.body.append(element);
    element.play().catch(() => {});
    const remote = { participant: idOf(participant), source, track, element, old, since: old?.since ?? now(), frames: old?.frames ?? [] };
    remotes.set(key, remote);
    if (track.kind === 'video') watch(element, remote.frames, () => old && retire(old));
    else listen(remote);
  }

  function retire(remote) {
    remote.retired = true;
    remote.element.remove();
    remote.element.srcObject = null;
    remote.stop?.();
    if (remote.old) retire(remote.old);
    remote.old = null;
  }

  /** Notes whether somebody is heard twice: by what the tracks may do, and by what comes out of them. */
  function listenForDoubles() {
    const samples = new Float32Array(512);
    const loud = remote => {
      if (!remote.analyser) return false;
      remote.analyser.getFloatTimeDomainData(samples);
      const stale = remote.sample === samples[0]; // a busy machine has not made any sound since the last look
      remote.sample = samples[0];
      return !stale && Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length) > 0.02;
    };
    let both = -Infinity; // since when
    setInterval(() => {
      let twice = false;
      for (const remote of remotes.values()) {
        if (remote.source !== 'microphone') continue;
        const all = [];
        for (let each = remote; each; each = each.old) all.push(each);
        if (all.filter(({ track }) => track.enabled && track.readyState === 'live').length > 1) doubled.push(now());
        if (all.map(loud).filter(Boolean).length > 1) twice = true;
      }
      if (!twice) both = -Infinity;
      else if (both === -Infinity) both = now();
      else overlap = Math.max(overlap, now() - both);
    }, 20);
  }

  /** Notes the time and the mean colour of every frame that the element presents. */
  function watch(element, frames, began = () => {}) {
    const canvas = Object.assign(document.createElement('canvas'), { width: 8, height: 4 });
    const paint = canvas.getContext('2d', { willReadFrequently: true });
    const look = (_, { width, height }) => {
      if (!element.srcObject) return; // its successor has taken over
      began();
      const at = now();
      paint.drawImage(element, 0, 0, width, height / 2, 0, 0, 8, 4); // the upper half holds nothing but the colour
      const pixels = paint.getImageData(0, 0, 8, 4).data;
      const rgb = [0, 1, 2].map(i => Math.round(pixels.filter((_, n) => n % 4 === i).reduce((a, b) => a + b) / 32));
      frames.push({ at, rgb });
      element.requestVideoFrameCallback(look);
    };
    element.requestVideoFrameCallback(look);
  }

  function listen(remote) {
    remote.analyser = new AnalyserNode(audio, { fftSize: 8192, smoothingTimeConstant: 0 });
    const sound = audio.createMediaStreamSource(remote.element.srcObject);
    sound.connect(remote.analyser);
    remote.stop = () => sound.disconnect();
  }

  function strip(detail) {
    const plain = value => {
      if (value instanceof MediaStreamTrack) return `${value.kind} track`;
      return value instanceof Error ? { code: value.code, message: value.message } : value;
    };
    return JSON.parse(JSON.stringify(detail ?? null, (_, value) => plain(value)));
  }

  window.peer = {
    async newLink() {
      sdk ??= await import(`${window.relayOrigin ?? ''}/sdk/sotto.js`);
      return sdk.Call.newLink();
    },

    async join(link, name, options) {
      sdk ??= await import(`${window.relayOrigin ?? ''}/sdk/sotto.js`);
      audio ??= new AudioContext({ sampleRate: 48000 });
      await Promise.race([audio.resume(), new Promise((_, no) => setTimeout(no, 3000, new Error('no sound device')))]);
      const stream = options?.silent ? null : media(options);
      const began = now();
      const { tunnel, patience } = options ?? {};
      call = await sdk.Call.join(link, {
        name, stream, ...(tunnel === undefined ? {} : { tunnel }), ...(patience === undefined ? {} : { patience }),
        waiting: () => log.push({ at: now(), type: 'waiting' }),
      });
      listenForDoubles();
      for (const type of ['participant', 'track', 'speaking', 'chat', 'verification', 'state', 'error', 'path', 'host', 'knock', 'mute']) {
        call.addEventListener(type, event => {
          if (type !== 'speaking') log.push({ at: now(), type, detail: strip(event.detail) });
          if (type === 'track') receive(event.detail.participant, event.detail.source, event.detail.track);
        });
      }
      if (options?.lips) for (const track of stream.getTracks()) receive('self', track.kind === 'audio' ? 'microphone' : 'camera', track);
      return { began, joined: now(), id: call.self.id };
    },

    /** Turns a camera on in a call that was joined without one; answers when. */
    async turnOn(options) {
      const at = now();
      await call.setCamera(media(options).getVideoTracks()[0]);
      return at;
    },

    id: () => call.self.id,
    state: () => call.state,
    show: (participant, source, height) => call.show(call.participant(participant), source, height),

    /** Watches what each video receiver presents, whomever its slot belongs to. */
    watchSlots() {
      for (const receiver of connections.flatMap(connection => connection.getReceivers())) {
        if (receiver.track.kind !== 'video' || slots.has(receiver.track.id)) continue;
        const element = Object.assign(document.createElement('video'), { autoplay: true, muted: true, srcObject: new MediaStream([receiver.track]) });
        document.body.append(element);
        element.play().catch(() => {});
        slots.set(receiver.track.id, []);
        watch(element, slots.get(receiver.track.id));
      }
    },

    /** What each slot presented since `watchSlots`. */
    slots: () => [...slots.values()],

    /** Cuts the signaling connection, as a lost network would. */
    cut: () => socket.close(),

    path: () => call.path,
    /** Whether somebody was heard over two paths at once. */
    doubled: () => ({ times: doubled, overlap }),
    setMicrophone: on => call.setMicrophone(on),
    setCamera: on => call.setCamera(on),
    /** Shares a picture of a colour, or stops. */
    share: options => call.shareScreen(options ? media({ ...options }) : false),
    published: participant => [...(call.participant(participant)?.published ?? [])].sort(),
    microphoneOf: participant => call.participant(participant)?.microphone,
    /** The statistics that the SDK gives out: how many bytes came by what is in use. */
    async stats() {
      const all = [...(await call.getStats()).values()];
      return all.filter(({ type }) => type === 'inbound-rtp').reduce((sum, each) => sum + each.bytesReceived, 0);
    },
    /** The path of every open connection is given up, as when the network changes. */
    changeNetwork: () => dispatchEvent(new Event('online')),
    isHost: () => call.isHost,
    host: () => call.host?.id ?? null,
    locked: () => call.locked,
    knocks: () => call.knocks,
    lock: on => call.lock(on),
    admit: participant => call.admit(participant),
    deny: participant => call.deny(participant),
    remove: participant => call.remove(participant),
    muteAll: () => call.muteAll(),
    receipt: () => call.receipt,

    leave: () => call.leave(),
    sendChat: text => call.sendChat(text),
    code: () => call.verificationCode,
    log: () => log,
    participants: () => [...(call.participants.values?.() ?? call.participants)].map(strip),
    flash: () => flash(),

    /** Per remote track: frames or samples that really came out at the end. */
    async remotes() {
      const inbound = new Map();
      for (const connection of connections) {
        if (connection.connectionState === 'closed') continue;
        for (const report of (await connection.getStats()).values()) {
          if (report.type === 'inbound-rtp') inbound.set(report.trackIdentifier, report);
        }
      }
      return [...remotes.values()].map(({ participant, source, track, frames, since }) => {
        const stats = inbound.get(track.id);
        return {
          participant, source, since, state: track.readyState, muted: track.muted,
          decoded: stats?.framesDecoded, received: stats?.packetsReceived, energy: stats?.totalAudioEnergy,
          playout: stats?.estimatedPlayoutTimestamp, presented: frames.length, first: frames[0]?.at, last: frames.at(-1),
        };
      });
    },

    /** Per stream that arrives, whomever it belongs to. */
    async inbound() {
      const found = [];
      for (const connection of connections) {
        if (connection.connectionState === 'closed') continue;
        for (const report of (await connection.getStats()).values()) {
          if (report.type !== 'inbound-rtp') continue;
          const { kind, packetsReceived, framesDecoded, totalAudioEnergy } = report;
          found.push({ kind, packets: packetsReceived, decoded: framesDecoded, energy: totalAudioEnergy });
        }
      }
      return found;
    },

    /** Keeps what an altered encryption worker tells of frames before they are protected. */
    collectPlain() {
      new BroadcastChannel('plain').onmessage = ({ data: [codec, frame] }) => {
        if (plain.length < 400) plain.push([codec, btoa(String.fromCharCode(...new Uint8Array(frame).subarray(0, 120)))]);
      };
    },
    plain: () => plain,

    /** Every frame presented of a participant's camera, or another source, since a time, whichever way it came. */
    frames: (participant, since = 0, source = 'camera') => (remotes.get(`${participant}/${source}`)?.frames ?? []).filter(frame => frame.at >= since),
    now,

    /** The level in dB of each frequency in a participant's received audio. */
    levels(participant, frequencies) {
      const analyser = remotes.get(`${participant}/microphone`)?.analyser;
      if (!analyser) return null;
      const bins = new Float32Array(analyser.frequencyBinCount);
      analyser.getFloatFrequencyData(bins);
      const width = audio.sampleRate / analyser.fftSize;
      return frequencies.map(f => Math.max(...bins.subarray(Math.round(f / width) - 2, Math.round(f / width) + 3), -200));
    },

    /** Watches one participant for flashes and beeps; answers with the times of both. */
    async lips(participant, milliseconds) {
      const { frames } = remotes.get(`${participant}/camera`);
      const { analyser } = remotes.get(`${participant}/microphone`);
      analyser.fftSize = 2048;
      const samples = new Float32Array(2048), beeps = [];
      const began = now();
      while (now() - began < milliseconds) {
        const at = now();
        analyser.getFloatTimeDomainData(samples);
        const onset = samples.findIndex(sample => Math.abs(sample) > 0.1);
        // a first loud sample that has silence before it, inside this window
        if (onset > 200 && (beeps.length === 0 || at - beeps.at(-1) > 500)) beeps.push(at - (2048 - onset) / audio.sampleRate * 1000);
        await new Promise(next => setTimeout(next, 4));
      }
      const bright = frame => frame.rgb[0] > 128;
      const flashes = frames.filter((frame, n) => n > 0 && frame.at >= began && bright(frame) && !bright(frames[n - 1])).map(f => f.at);
      return { beeps, flashes };
    },

    /** What the transports say of themselves. */
    async transports() {
      const found = [];
      for (const connection of connections) {
        if (connection.connectionState === 'closed') continue;
        for (const report of (await connection.getStats()).values()) {
          if (report.type === 'transport') found.push({ cipher: report.srtpCipher, dtls: report.dtlsState, version: report.tlsVersion, bytes: report.bytesReceived });
        }
      }
      return found;
    },

    connections: () => connections.map(c => ({ state: c.connectionState, offered: c.connectionState !== 'closed' && c.localDescription?.type === 'offer', sdp: c.connectionState === 'closed' ? undefined : c.remoteDescription?.sdp })),
    /**
     * The certificates of the ends of each open connection, by their SHA-256: ours as it is described, theirs as DTLS
     * showed it where the browser tells (`seen`), else as it is described, which the browser holds DTLS to.
     */
    async certificates() {
      const found = [];
      for (const connection of connections.filter(each => each.connectionState === 'connected')) {
        const described = ({ sdp }) => /^a=fingerprint:sha-256 (\S+)/im.exec(sdp)[1].toUpperCase();
        const [shown] = connection.getSenders()[0].transport?.getRemoteCertificates?.() ?? [];
        const digest = shown && new Uint8Array(await crypto.subtle.digest('SHA-256', shown));
        const seen = digest && [...digest].map(byte => byte.toString(16).padStart(2, '0').toUpperCase()).join(':');
        found.push({ local: described(connection.localDescription), remote: seen ?? described(connection.remoteDescription), seen: !!seen });
      }
      return found;
    },
  };
})();
