/* Behind each path: its names are free for the next. */
#undef P
#undef NAME
#undef V
#undef NV
#undef MR
#undef KG
#undef HV
#undef DW
#undef HALF
#undef RA
#undef RW
#undef LOWEST
#undef VF
#undef VI
#undef OWN_SUMS
#undef OWN_LOAD_AND_GO
#undef OWN_SUM
