"""A compiled program with a loop and all kinds of collectives, as XLA prints it."""

LOOP = """\
HloModule jit_step, is_scheduled=true

%add.1 (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%gather_fusion (param_0.1: bf16[2,8]) -> bf16[16,8] {
  %param_0.1 = bf16[2,8]{1,0} parameter(0)
  ROOT %all-gather.1 = bf16[16,8]{1,0} all-gather(%param_0.1), channel_id=7, \
replica_groups=[2,8]<=[16], dimensions={0}
}

%all-reduce-scatter.1 (param_0.2: f32[64,4]) -> f32[4,4] {
  %param_0.2 = f32[64,4]{1,0} parameter(0)
  %all-reduce.5 = f32[64,4]{1,0} all-reduce(%param_0.2), channel_id=9, \
replica_groups={{0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}}, to_apply=%add.1
  %zero = s32[] constant(0)
  ROOT %dynamic-slice.1 = f32[4,4]{1,0} dynamic-slice(%all-reduce.5, %zero, %zero), dynamic_slice_sizes={4,4}
}

%body.2 (state: (s32[], bf16[2,8])) -> (s32[], bf16[2,8]) {
  %state = (s32[], bf16[2,8]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %x = bf16[2,8]{1,0} get-tuple-element(%state), index=1
  %async-collective-start.3 = (bf16[2,8]{1,0}, bf16[16,8]{1,0}) fusion(%x), kind=kCustom, calls=%gather_fusion
  %y = bf16[2,8]{1,0} multiply(%x, %x)
  %fused = bf16[2,8]{1,0} fusion(%y), kind=kLoop, calls=%square
  %async-collective-done.3 = bf16[16,8]{1,0} fusion(%async-collective-start.3), kind=kCustom, \
calls=%gather_fusion
  ROOT %next = (s32[], bf16[2,8]{1,0}) tuple(%i, %fused)
}

%square (p: bf16[2,8]) -> bf16[2,8] {
  %p = bf16[2,8]{1,0} parameter(0)
  ROOT %m = bf16[2,8]{1,0} multiply(%p, %p)
}

%condition.2 (state.1: (s32[], bf16[2,8])) -> pred[] {
  %state.1 = (s32[], bf16[2,8]{1,0}) parameter(0)
  %j = s32[] get-tuple-element(%state.1), index=0
  %limit = s32[] constant(12)
  ROOT %less = pred[] compare(%j, %limit), direction=LT
}

ENTRY %main.9 (x.1: bf16[2,8], g: f32[64,4]) -> (s32[], bf16[2,8]) {
  %x.1 = bf16[2,8]{1,0} parameter(0)
  %g = f32[64,4]{1,0} parameter(1)
  %zero.1 = s32[] constant(0)
  %all-reduce.2 = f32[64,4]{1,0} all-reduce(%g), channel_id=1, \
replica_groups=mesh['x'=4,'y'=4] {'y'}, to_apply=%add.1
  %scattered = f32[4,4]{1,0} fusion(%all-reduce.2), kind=kCustom, calls=%all-reduce-scatter.1
  %alone = f32[4,4]{1,0} all-reduce(%scattered), channel_id=2, replica_groups={{0},{1},{2}}, to_apply=%add.1
  %collective-permute-start.1 = (f32[4,4]{1,0}, f32[4,4]{1,0}, u32[], u32[]) \
collective-permute-start(%alone), channel_id=3, source_target_pairs={{0,1},{1,2},{2,0}}
  %collective-permute-done.1 = f32[4,4]{1,0} collective-permute-done(%collective-permute-start.1)
  %started = (s32[], bf16[2,8]{1,0}) tuple(%zero.1, %x.1)
  ROOT %loop = (s32[], bf16[2,8]{1,0}) while(%started), condition=%condition.2, body=%body.2
}
"""
