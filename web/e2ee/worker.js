// The worker in which all keys live: binds the state machine to messages of the page and to encoded frames.

import { Core } from './core.js';
import { codecOf, isStream, isVideo } from './frame.js';

/** @typedef {import('./frame.js').Stream} Stream */
/** @typedef {import('./frame.js').FrameCodec} FrameCodec */
/** @typedef {RTCEncodedVideoFrame | RTCEncodedAudioFrame} Frame */

/**
 * What a transform is made with.
 * @typedef {object} Attachment
 * @property {number} attach
 * @property {'send' | 'receive'} side
 * @property {string} stream of a sender
 * @property {string} slot of a receiver
 */

/**
 * The half of RTCRtpScriptTransformer that is used here.
 * @typedef {object} Transformer
 * @property {ReadableStream<Frame>} readable
 * @property {WritableStream<Frame>} writable
 * @property {Attachment} options
 * @property {() => Promise<unknown>} sendKeyFrameRequest
 * @property {(rid?: string) => Promise<unknown>} [generateKeyFrame] absent from some browsers
 */

/**
 * @typedef {object} Attached
 * @property {Transformer} transformer
 * @property {Attachment} options
 * @property {Record<number, FrameCodec | null> | null} codecs by payload type, where frames do not say
 * @property {number} askedAt when the page was last asked for them
 */

const scope = /** @type {any} */ (self);

/** @type {Core | null} */
let core = null;

/** @type {Map<number, Attached>} */
const attachments = new Map();

/** @type {Record<string, (...args: any[]) => any>} */
const methods = {
  async open(link, name, options) {
    core = await Core.open(environment, link, name, options);
    return { call: core.call, identity: core.identity, isHost: core.moderation.isHost };
  },
  admission: (nonce, hostName) => opened().admission(nonce, hostName),
  joined: (participant, others) => opened().joined(participant, others),
  arrived: participant => opened().arrived(participant),
  departed: participant => opened().departed(participant),
  receive: (from, data) => opened().receive(from, data),
  send: (kind, body) => opened().send(kind, body),
  tunnel: (participant, description) => opened().tunnel(participant, description),
  tunnelOver: (participant, path) => opened().tunnelOver(participant, path),
  waiting: (participant, state) => opened().waiting(participant, state),
  knock: participant => opened().knock(participant),
  knocked: (participant, data) => opened().knocked(participant, data),
  knockEnded: participant => opened().knockEnded(participant),
  lock: on => opened().moderation.lock(on === true),
  admit: participant => opened().moderation.admit(participant),
  deny: participant => opened().moderation.deny(participant),
  remove: participant => opened().moderation.remove(participant),
  muteAll: () => opened().moderation.muteAll(),
  point(slot, epoch, participant, stream) {
    if (!isStream(stream)) throw new RangeError('the stream is not known');
    return opened().slot(slot).point(epoch, participant, stream);
  },
  blank: slot => opened().slot(slot).blank(),
  counters: () => ({ ...opened().counters }),
  codecs(attach, /** @type {[number, string][]} */ list) {
    const attached = attachments.get(attach);
    if (attached) attached.codecs = Object.fromEntries(list.map(([type, mime]) => [type, codecOf(mime)]));
  },
  close: () => core?.close(),
};

scope.onmessage = async (/** @type {MessageEvent} */ { data: { id, method, args } }) => {
  try {
    scope.postMessage({ id, result: await methods[method](...args) });
  } catch (error) {
    scope.postMessage({ id, error: error instanceof RangeError ? error.message : 'the encryption failed' });
  }
};

scope.onrtctransform = (/** @type {{transformer: Transformer}} */ { transformer }) => {
  const { options } = transformer;
  const attached = { transformer, options, codecs: null, askedAt: -Infinity };
  attachments.set(options.attach, attached);
  // One frame at a time: the next waits until this one is enqueued, so none overtakes another.
  const transform = options.side === 'send' ? protecting(attached) : opening(attached);
  transformer.readable.pipeThrough(new TransformStream({ transform })).pipeTo(transformer.writable)
    .catch(() => undefined)
    .finally(() => detach(options));
  scope.postMessage({ attached: options.attach });
};

const environment = {
  crypto: scope.crypto,
  now: () => performance.now(),
  after(/** @type {number} */ milliseconds, /** @type {() => void} */ task) {
    const timer = setTimeout(task, milliseconds);
    return () => clearTimeout(timer);
  },
  emit(/** @type {string} */ type, /** @type {Record<string, unknown>} */ detail) {
    if (type === 'want-key-frame') requestKeyFrame(/** @type {string} */ (detail.slot));
    else if (type === 'keyframe') generateKeyFrames();
    else scope.postMessage({ event: type, detail });
  },
};

/**
 * @param {Attached} attached
 * @returns {(frame: Frame, controller: TransformStreamDefaultController<Frame>) => Promise<void>}
 */
function protecting(attached) {
  const stream = /** @type {Stream} */ (attached.options.stream);
  return async (frame, controller) => {
    const codec = codecFor(attached, frame);
    if (!core || !codec) return;
    try {
      const sealed = await core.protect(stream, codec, new Uint8Array(frame.data));
      if (!sealed) return;
      frame.data = sealed.buffer;
      controller.enqueue(frame);
    } catch {
      // the frame is dropped: nothing leaves that is not protected
    }
  };
}

/**
 * @param {Attached} attached
 * @returns {(frame: Frame, controller: TransformStreamDefaultController<Frame>) => Promise<void>}
 */
function opening(attached) {
  return async (frame, controller) => {
    const codec = codecFor(attached, frame);
    if (!core || !codec) return;
    try {
      const bytes = new Uint8Array(frame.data);
      const isKey = codec === 'vp8' ? (bytes[0] & 1) === 0 : /** @type {any} */ (frame).type === 'key';
      const opened = await core.slot(attached.options.slot).open(codec, bytes, isKey);
      if (!opened) return;
      frame.data = opened.buffer;
      controller.enqueue(frame);
    } catch {
      // the frame is dropped: nothing is rendered that did not authenticate
    }
  };
}

/**
 * @param {Attached} attached
 * @param {Frame} frame
 * @returns {FrameCodec | null}
 */
function codecFor(attached, frame) {
  const { mimeType, payloadType } = /** @type {{mimeType?: string, payloadType?: number}} */ (frame.getMetadata());
  if (mimeType) return codecOf(mimeType);
  const codec = payloadType === undefined ? null : attached.codecs?.[payloadType];
  if (codec !== undefined && codec !== null) return codec;
  if (performance.now() - attached.askedAt > ASK_AGAIN) {
    attached.askedAt = performance.now();
    scope.postMessage({ codecs: attached.options.attach });
  }
  return null;
}

/** @param {string} slot */
function requestKeyFrame(slot) {
  for (const { transformer, options } of attachments.values()) {
    if (options.slot === slot) transformer.sendKeyFrameRequest().catch(() => undefined);
  }
}

function generateKeyFrames() {
  for (const { transformer, options } of attachments.values()) {
    if (options.side !== 'send' || !isVideo(/** @type {Stream} */ (options.stream))) continue;
    if (transformer.generateKeyFrame) transformer.generateKeyFrame().catch(() => undefined);
    else scope.postMessage({ event: 'keyframe', detail: { attach: options.attach } });
  }
}

/** @param {Attachment} options */
function detach({ attach, side, slot }) {
  attachments.delete(attach);
  if (side === 'receive') core?.forgetSlot(slot);
  scope.postMessage({ detached: attach });
}

/** @returns {Core} */
function opened() {
  if (!core) throw new RangeError('the encryption is not open');
  return core;
}

/** Milliseconds between two questions for the codecs of a transform. */
const ASK_AGAIN = 100;
