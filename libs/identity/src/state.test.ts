import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openStateFile } from '@isthmus/runtime';
import { parseJwtKeysState } from './authority/jwt-key-file.ts';
import { parseSlotState, parseViewState } from './authority/state.ts';
import { parseProxyState, parseSvidState } from './proxy/state.ts';
import { openJsonState } from './state.ts';
import { parseTrustRootState } from './trust-root/state.ts';

const directory = mkdtempSync(join(tmpdir(), 'isthmus-state-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const MAX_BYTES = 1_000_000;

for (const [name, parse] of Object.entries({ parseTrustRootState, parseSlotState, parseViewState, parseJwtKeysState, parseProxyState, parseSvidState })) {
  test(`a downgrade refuses a newer state in one line and leaves it as it is: ${name}`, async () => {
    const path = join(directory, name);
    await openStateFile(path).write(JSON.stringify({ version: 2, whatever: 'a newer version writes' }));
    const before = readFileSync(path);
    await assert.rejects(openJsonState<unknown>(path, parse, MAX_BYTES).read(), {
      code: 'IDENTITY_STATE_NEWER',
      message: `${path} was written by a newer version of this program: its format is 2, this one knows 1`,
    });
    assert.deepEqual(readFileSync(path), before);
  });
}

test('a state of this version that does not parse is damaged, not newer', async () => {
  for (const value of [{ version: 1 }, { version: 0 }, { version: '2' }, [], null]) {
    const path = join(directory, 'damaged');
    await openStateFile(path).write(JSON.stringify(value));
    await assert.rejects(openJsonState(path, parseProxyState, MAX_BYTES).read(), { code: 'IDENTITY_STATE_CORRUPT' });
  }
});
