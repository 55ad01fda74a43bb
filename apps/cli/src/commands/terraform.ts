// `isthmus terraform mirror`: lays the Terraform provider out in a folder that `terraform init` installs it from, with no registry.
import { readFileSync } from 'node:fs';
import { chmod, copyFile, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { isSea } from 'node:sea';
import { fileURLToPath } from 'node:url';
import type { CommandContext } from '../context.ts';
import { printOutcome } from '../output/table.ts';
import type { Options } from '../tree/action.ts';

/** The address configurations name the provider by, as in decision 0021. */
const SOURCE = 'isthmus.example/isthmus/isthmus';
/** Runs the provider of this checkout as it is then, whatever has changed since. */
const RUN = fileURLToPath(new URL('../../../../tools/release/src/run-bundled.ts', import.meta.url));
const PROVIDER = 'apps/terraform-provider/src/main.ts';

/** Terraform's names of platforms. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

export type Mirror = { readonly directory: string; readonly executable: string; readonly version: string; readonly cliConfig: string };

/** Lays out the mirror and prints the CLI configuration that makes Terraform use it; `--cli-config` writes that to a file. */
export async function mirrorProvider(context: CommandContext, [directory = '']: readonly string[], options: Options): Promise<void> {
  const mirror = await layOutMirror(directory, { isLink: options['link'] === true });
  const file = options['cliConfig'];
  if (typeof file === 'string') await writeFile(file, mirror.cliConfig);
  const next = typeof file === 'string' ? `use it with: export TF_CLI_CONFIG_FILE=${resolve(file)}` : `put this into ~/.terraformrc, or a file that TF_CLI_CONFIG_FILE names:\n\n${mirror.cliConfig}`;
  printOutcome(context, `${SOURCE} ${mirror.version} is in ${mirror.directory}\n${next}`, mirror);
}

/** Writes `<directory>/<source>/<version>/<os>_<arch>/terraform-provider-isthmus_v<version>`, replacing what is there of that version. */
export async function layOutMirror(directory: string, { isLink = false }: { readonly isLink?: boolean } = {}): Promise<Mirror> {
  const version = versionOf();
  const root = resolve(directory);
  const platform = `${process.platform}_${ARCHITECTURES[process.arch] ?? process.arch}`;
  const folder = join(root, SOURCE, version, platform);
  const executable = join(folder, `terraform-provider-isthmus_v${version}`);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  if (!isSea()) {
    // From the sources: the same Node as this one, so that a terminal without Node in its PATH does.
    await writeFile(executable, `#!/bin/sh\nexec ${quoted(process.execPath)} ${quoted(RUN)} ${PROVIDER} "$@"\n`);
    await chmod(executable, 0o755);
  } else if (isLink) await symlink(process.execPath, executable);
  else await copyFile(process.execPath, executable);
  return { directory: root, executable, version, cliConfig: cliConfig(root) };
}

function cliConfig(directory: string): string {
  return `provider_installation {
  filesystem_mirror {
    path    = ${JSON.stringify(directory)}
    include = ["isthmus.example/*/*"]
  }
  direct {
    exclude = ["isthmus.example/*/*"]
  }
}
`;
}

function versionOf(): string {
  const released = (globalThis as { readonly isthmusVersion?: string }).isthmusVersion;
  return released ?? (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { readonly version: string }).version;
}

function quoted(path: string): string {
  return `'${path.replaceAll("'", String.raw`'\''`)}'`;
}
