// Places beside the relay: network namespaces with one address each, so that the relay sees who comes from where.
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

let places = 0;

export class Place {
  #holder;

  /** `address` is the place's own, `relay` the relay's end of the wire; both of one family. */
  static async open(address, relay) {
    const place = new Place();
    place.#holder = spawn('unshare', ['--net', 'sleep', 'infinity'], { stdio: 'ignore' });
    const { pid } = place.#holder;
    place.enter = ['nsenter', `--net=/proc/${pid}/ns/net`];
    for (let n = 0; readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync('/proc/self/ns/net'); n += 1) {
      if (n > 200) throw new Error('no network namespace could be made');
      await sleep(10);
    }
    const [near, far] = [`near${places}`, `far${places++}`];
    ip('link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', `${pid}`);
    for (const [within, device, own] of [[[], near, relay], [place.enter, far, address], [place.enter, 'lo', null]]) {
      // run.sh turns IPv6 off for whatever comes later, since it would come a second later
      run(within, 'sh', '-c', `echo 0 2>/dev/null >/proc/sys/net/ipv6/conf/${device}/disable_ipv6 || true`);
      if (own) run(within, 'ip', 'addr', 'add', ...(own.includes(':') ? [`${own}/64`, 'nodad'] : [`${own}/24`]), 'dev', device);
      run(within, 'ip', 'link', 'set', device, 'up');
    }
    return place;
  }

  /** A program that is started here, wherever its path is given. */
  program(path, folder) {
    const script = join(folder, `there-${this.#holder.pid}-${path.split('/').at(-1)}`);
    writeFileSync(script, `#!/bin/sh\nexec ${this.enter.join(' ')} ${path} "$@"\n`);
    chmodSync(script, 0o755);
    return script;
  }

  close() {
    this.#holder.kill('SIGKILL');
  }
}

/** Gives the relay's own namespace further addresses, for clients that run in it. */
export function addAddresses(...addresses) {
  for (const address of addresses) {
    ip('addr', 'add', ...(address.includes(':') ? [`${address}/128`, 'nodad'] : [`${address}/32`]), 'dev', 'lo');
  }
}

const ip = (...args) => run([], 'ip', ...args);

function run(within, ...command) {
  const [program, ...args] = [...within, ...command];
  execFileSync(program, args, { stdio: 'inherit' });
}
