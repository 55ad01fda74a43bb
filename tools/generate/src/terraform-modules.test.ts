// The README of a Terraform module says what the module's text says.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { modulePage } from './terraform-modules.ts';

const VARIABLES = `variable "name" {
  description = "Its name, a|b."
  type        = string

  validation {
    condition     = var.name != ""
    error_message = "name: must not be empty."
  }
}

variable "members" {
  description = "Its members."
  type = map(object({
    address = string
    port    = optional(number, 2379)
  }))
  default   = {}
  sensitive = true
}
`;
const OUTPUTS = `output "all" {
  description = "Everything."
  value       = { a = 1 }
  sensitive   = true
}
`;

test('each variable has its type, default and meaning, each output its meaning', () => {
  const page = modulePage({ name: 'x', main: '# What it is for.\n\nlocals {}\n', variables: VARIABLES, outputs: OUTPUTS });
  assert.match(page, /^# x\n.*\n\nWhat it is for\.\n/);
  assert.match(page, /^\| `name` \| `string` \| required \| Its name, a\\\|b\. \|$/m);
  assert.match(page, /^\| `members` \| `map\(object\(\{ address = string, port = optional\(number, 2379\) \}\)\)` \| `\{\}` \| Its members\. Sensitive\. \|$/m);
  assert.match(page, /^\| `all` \| Everything\. Sensitive\. \|$/m);
});

test('a variable without a meaning is refused', () => {
  assert.throws(() => modulePage({ name: 'x', main: '# X.\n', variables: 'variable "a" {\n  type = string\n}\n', outputs: '' }), /a has no description/);
});
