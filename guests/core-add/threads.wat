;; A module that needs threads: a shared memory, and an atomic addition in it.
(module
  (memory (export "memory") 1 1 shared)
  (func (export "add") (param $left i32) (param $right i32) (result i32)
    i32.const 0
    local.get $left
    i32.atomic.store
    i32.const 0
    local.get $right
    i32.atomic.rmw.add
    drop
    i32.const 0
    i32.atomic.load))
