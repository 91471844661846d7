// What went wrong, and what to do about it, in plain sentences.

/** @typedef {{title: string, text: string, action?: string}} Words */

/** @type {Record<string, Words>} */
const CALL = {
  refused: {
    title: 'This link was not admitted',
    text: 'It may have been cut short when it was copied, or the call is closed to new people. Ask for the link again.',
  },
  full: {
    title: 'There is no more room',
    text: 'The call, or the server, holds as many people as it may. Try again when somebody has left.',
    action: 'Try again',
  },
  unavailable: {
    title: 'The server takes no new calls now',
    text: 'It is probably being updated. Try again in a minute.',
    action: 'Try again',
  },
  replaced: {
    title: 'You joined from somewhere else',
    text: 'The same seat in this call was taken by another tab or connection of yours, so this one has ended.',
    action: 'Join here instead',
  },
  version: {
    title: 'This page is out of date',
    text: 'The server has been updated. Reload the page, then open the invite link again.',
  },
  removed: {
    title: 'The host removed you from the call',
    text: 'The others changed their keys, so that what they say now cannot reach you. What was written in the call ' +
      'is gone from this device. If it was a mistake, ask the host to let you in again.',
  },
  denied: {
    title: 'The host did not let you in',
    text: 'Nobody saw or heard you. If you think that you should be in this call, ask its host by other means.',
  },
  deserted: {
    title: 'Everybody has left',
    text: 'The last person left the call before you were let in. Ask whoever sent you the link.',
    action: 'Try again',
  },
  ended: { title: 'The call ended', text: 'The server stopped carrying it. You can join again.', action: 'Join again' },
  link: {
    title: 'This is not a call link',
    text: 'A link looks like https://…/c# followed by many letters. Copy all of it, also what stands after the #.',
  },
  unsupported: {
    title: 'This browser cannot encrypt calls',
    text: 'Sotto never goes on without encryption. Use a current Chrome, Edge, Firefox or Safari, over https.',
  },
  unreachable: {
    title: 'The server cannot be reached',
    text: 'Check your internet connection. If other pages open, the server itself may be down: try again in a minute.',
    action: 'Try again',
  },
  lost: {
    title: 'The connection was lost',
    text: 'We kept trying for some minutes. Check your internet connection, then join again.',
    action: 'Join again',
  },
  media: {
    title: 'Sound and pictures cannot get through',
    text: 'The server answers, but your network seems to block calls (UDP). Try another, or ask whoever runs it.',
    action: 'Try again',
  },
  encryption: {
    title: 'The encryption could not be started',
    text: 'Nothing was sent. Reload the page and open the link again; if it persists, try another browser.',
  },
};

/** @type {Words} */
const OTHER = { title: 'Something went wrong', text: 'You can try to join again.', action: 'Try again' };

/** @param {{code?: string, message?: string} | undefined} error @returns {Words} */
export function callWords(error) {
  return CALL[error?.code ?? ''] ?? { ...OTHER, text: `${error?.message ?? ''} ${OTHER.text}`.trim() };
}

/** @param {boolean} invited Whether we came by an invite link, rather than made the call. @returns {Words} */
export function aloneWords(invited) {
  if (invited) {
    return {
      title: 'Nobody else is here yet',
      text: 'If you expected somebody, compare your links: one that was changed on its way leads to another call.',
    };
  }
  return {
    title: 'You are the only one here',
    text: 'Send the invite link to those who should come. Whoever has it can join, and you will see them do so.',
  };
}

/** Why waiting to be let in came to nothing. @param {string | undefined} code @returns {string | undefined} */
export function waitingCode(code) {
  return code === 'removed' ? 'denied' : code === 'ended' ? 'deserted' : code;
}

/**
 * Which way sound and pictures take, and who holds keys of it.
 * @param {'tunnel' | 'forwarded'} path
 * @param {number} people How many are in the call, we among them.
 * @param {boolean} wanted Whether we have the tunnel turned on.
 * @returns {Words & {badge: string}}
 */
export function pathWords(path, people, wanted) {
  if (people < 2) {
    const text = 'As soon as somebody comes, this says how sound and pictures go between you, and who holds which key.';
    return { badge: '', title: 'Nobody else is here', text };
  }
  if (path === 'tunnel') {
    return {
      badge: 'Sealed between you two',
      title: 'Sealed from your browser to theirs.',
      text: 'Your two browsers hold the only keys of this connection. The server hands the sealed packets on unopened; ' +
        'it has no key at all, not even to their envelope. It still sees how much is sent, and when. ' +
        'Your network address is not shown to the other.',
    };
  }
  const why = people > 2 ? 'More than two can only meet this way.'
    : wanted ? 'With just two, a sealed tunnel takes over unless one of you, or the server, has turned it off.'
      : 'You turned off the sealed tunnel that two people could use.';
  return {
    badge: 'Forwarded by the server',
    title: 'Encrypted end to end, forwarded by the server.',
    text: 'Pictures, sound and chat are sealed with keys that only the people in the call hold. The server opens the ' +
      `envelope around them, to see where a packet goes, and never what is inside. ${why}`,
  };
}

/**
 * Why the verification code is another one.
 * @param {{joined: string[], left: string[], removed: string[]}} change Names.
 * @returns {string} "Ana came and Ben was removed by the host", or nothing.
 */
export function changeWords({ joined, left, removed }) {
  const parts = [];
  if (joined.length > 0) parts.push(`${listed(joined)} came`);
  if (left.length > 0) parts.push(`${listed(left)} left`);
  if (removed.length > 0) parts.push(`${listed(removed)} ${removed.length > 1 ? 'were' : 'was'} removed by the host`);
  return listed(parts);
}

/** @param {string} name @returns {Words} */
export function removeWords(name) {
  return {
    title: `Remove ${name}?`,
    text: `${name} is put out at once. Everybody's keys are changed, so that ${name} can neither see nor hear what ` +
      'follows, and the call is locked: coming back takes your permission.',
    action: `Remove ${name}`,
  };
}

/** @param {string[]} names Of those who wait. */
export function knockWords(names) {
  if (names.length > 3) return `${names.length} people ask to come in.`;
  return `${listed(names)} ${names.length > 1 ? 'ask' : 'asks'} to come in.`;
}

/** While the call goes on, and comes back by itself. @param {{code?: string} | undefined} error */
export function reconnectingWords(error) {
  if (error?.code === 'media') return 'Sound and pictures stopped getting through. Reconnecting…';
  if (error?.code === 'unavailable') return 'The server is restarting. You will be back by yourself.';
  return 'The connection was lost. Reconnecting…';
}

/**
 * A camera or microphone that did not open.
 * @param {unknown} error
 * @param {{audio: boolean, video: boolean}} wanted
 * @param {boolean} [inside] Already in the call, where joining without it is no advice.
 * @returns {Words}
 */
export function deviceWords(error, wanted, inside = false) {
  const without = inside ? '' : ' You can also join without it.';
  const thing = wanted.audio && wanted.video ? 'camera and microphone' : wanted.video ? 'camera' : 'microphone';
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  switch (cause instanceof Error ? cause.name : '') {
    case 'NotAllowedError':
    case 'SecurityError':
      return {
        title: `Your browser blocks the ${thing}`,
        text: `Allow it with the icon beside the address, then try again.${without}`,
      };
    case 'NotFoundError':
    case 'OverconstrainedError':
      return {
        title: `No ${thing} was found`,
        text: `Plug one in and try again.${without}`,
      };
    case 'NotReadableError':
    case 'AbortError':
      return {
        title: `The ${thing} did not start`,
        text: `Another program may be using it. Close that program and try again.${without}`,
      };
    default:
      return { title: `The ${thing} could not be opened`, text: `Try again.${without}` };
  }
}

/**
 * @param {string[]} names
 * @returns {string} "Ana", "Ana and Ben", "Ana, Ben and Eva".
 */
export function listed(names) {
  if (names.length < 2) return names[0] ?? '';
  return `${names.slice(0, -1).join(', ')} and ${names[names.length - 1]}`;
}
