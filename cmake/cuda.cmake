# Decides whether the CUDA kernels are built, and for which architectures.
#
# Sets FGSBIR_CUDA_SOURCES, _DEFINITIONS, _LIBRARIES, _ARCHITECTURES and _TOOLKIT: all empty without CUDA.
# Then FGSBIR_WHY_NO_CUDA says what is missing.

set(FGSBIR_CUDA_SOURCES)
set(FGSBIR_CUDA_DEFINITIONS)
set(FGSBIR_CUDA_LIBRARIES)
set(FGSBIR_CUDA_ARCHITECTURES "")
set(FGSBIR_CUDA_TOOLKIT "")
set(FGSBIR_WHY_NO_CUDA "")

# Sets `known` to the architectures from Turing on that the toolkit knows, in order: CMake's own list may be
# older than the toolkit.
function(fgsbir_known_architectures known)
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch
    OUTPUT_VARIABLE listed COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[0-9]+" listed "${listed}")
  list(SORT listed COMPARE NATURAL)
  list(REMOVE_DUPLICATES listed)
  list(FILTER listed EXCLUDE REGEX "^([1-6].|7[0-4])$")
  set(${known} ${listed} PARENT_SCOPE)
endfunction()

# Where a list of architectures asks for code for sm_90, code for sm_90a takes its place: every chip of
# compute capability 9.0 runs it, and it alone may have the instructions of warpgroups. PTX stays that of
# compute_90, which later chips run too.
function(fgsbir_with_warpgroups variable)
  if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.0)
    return()
  endif()
  set(list ${${variable}})
  if(list STREQUAL "native" AND CMAKE_CUDA_ARCHITECTURES_NATIVE MATCHES "^[0-9]")
    set(list ${CMAKE_CUDA_ARCHITECTURES_NATIVE})
  elseif(list MATCHES "^all(-major)?$")
    fgsbir_known_architectures(known)
    list(POP_FRONT known oldest)
    if(list STREQUAL "all-major")
      list(FILTER known INCLUDE REGEX "0$")
    endif()
    list(POP_BACK known newest)
    set(list ${oldest} ${known})
    list(TRANSFORM list APPEND "-real")
    list(APPEND list ${newest})
  endif()
  list(TRANSFORM list REPLACE "^90$" "90a-real;90-virtual")
  list(TRANSFORM list REPLACE "^90-real$" "90a-real")
  list(REMOVE_DUPLICATES list)
  set(${variable} ${list} PARENT_SCOPE)
endfunction()

# Sets FGSBIR_WHY_NO_CUDA, or with FGSBIR_CUDA=ON ends the build.
function(fgsbir_go_without_cuda why)
  if(FGSBIR_CUDA STREQUAL "ON")
    message(FATAL_ERROR "fgsbir_ext: FGSBIR_CUDA is ON, but ${why}")
  endif()
  set(FGSBIR_WHY_NO_CUDA "${why}" PARENT_SCOPE)
endfunction()

# Replaces what a list or a string literal of C++ cannot hold: ; [ \ ] " and all that is not ASCII.
function(fgsbir_plain text variable)
  string(REGEX REPLACE "[^\n !#-:<-Z^-~]" "?" text "${text}")
  set(${variable} "${text}" PARENT_SCOPE)
endfunction()

# Builds a small program as the kernels will be built. Sets `error` to what went wrong, or to nothing.
#
# `nvcc` is a list: the compiler and its options.
function(fgsbir_try_nvcc nvcc error)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/try_nvcc)
  file(WRITE ${folder}/program.cu
    "#include <cuda_runtime.h>\n#include <algorithm>\n"
    "__global__ void kernel(int* x) { *x = 1; }\n"
    "int main() { int n; kernel<<<1, 1>>>(nullptr); return std::min<int>(cudaGetDeviceCount(&n), 0); }\n")
  set(host $ENV{CUDAHOSTCXX})
  if(CMAKE_CUDA_HOST_COMPILER)
    set(host ${CMAKE_CUDA_HOST_COMPILER})
  endif()
  separate_arguments(flags NATIVE_COMMAND "$ENV{CUDAFLAGS} ${CMAKE_CUDA_FLAGS}")
  if(host)
    list(APPEND flags -ccbin ${host})
  endif()
  execute_process(
    COMMAND ${CMAKE_COMMAND} -E env LC_ALL=C
      ${nvcc} ${flags} -std=c++17 -cudart static ${folder}/program.cu -o ${folder}/program
    TIMEOUT 300 RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  set(${error} "" PARENT_SCOPE)
  if(NOT result EQUAL 0)
    list(JOIN nvcc " " nvcc)
    message(STATUS "fgsbir_ext: output of ${nvcc}:\n${output}")
    fgsbir_plain("${output}" output)
    string(REGEX MATCHALL "[^\n]*[^ \n][^\n]*" lines "${output}")
    set(wrong ${lines})
    list(FILTER wrong INCLUDE REGEX "(^|[^a-z])(fatal|[Ee]rror|ERROR)|not found|cannot|No such")
    list(APPEND wrong ${lines} "exit status ${result}, no output")
    if(NOT result MATCHES "^[0-9]+$")  # killed, by a signal or by its time
      list(INSERT wrong 0 "${result}")
    endif()
    list(GET wrong 0 line)
    string(STRIP "${line}" line)
    string(SUBSTRING "${line}" 0 200 line)
    fgsbir_plain("${nvcc}" nvcc)
    set(${error} "${nvcc} compiles nothing (${line})" PARENT_SCOPE)
  endif()
endfunction()

# Sets `architectures` to those of this machine's GPUs; leaves it where there are none, or where the
# toolkit does not know all of them.
function(fgsbir_prefer_native architectures)
  if(CMAKE_CUDA_ARCHITECTURES_NATIVE MATCHES "^[0-9]")
    string(REGEX MATCHALL "[0-9]+" numbers "${CMAKE_CUDA_ARCHITECTURES_NATIVE}")
    fgsbir_known_architectures(known)
    set(unknown ${numbers})
    list(REMOVE_ITEM unknown ${known})
    if(NOT unknown)
      set(${architectures} ${numbers} PARENT_SCOPE)
    endif()
  endif()
endfunction()

if(FGSBIR_CUDA STREQUAL "AUTO" AND NOT "$ENV{FGSBIR_CUDA}" STREQUAL "")
  set(FGSBIR_CUDA $ENV{FGSBIR_CUDA})
endif()
string(TOUPPER "${FGSBIR_CUDA}" FGSBIR_CUDA)
if(NOT FGSBIR_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "fgsbir_ext: FGSBIR_CUDA must be AUTO, ON or OFF, got ${FGSBIR_CUDA}")
endif()

if(FGSBIR_CUDA STREQUAL "OFF")
  set(FGSBIR_WHY_NO_CUDA "FGSBIR_CUDA was OFF")
else()
  # A toolkit off PATH counts too: CUDACXX and CUDA_HOME first, then the usual places.
  if(CMAKE_CUDA_COMPILER)
    set(FGSBIR_NVCC ${CMAKE_CUDA_COMPILER})
  elseif(NOT "$ENV{CUDACXX}" STREQUAL "")
    # With options, as CMake takes it too; the program's path may have spaces.
    get_filename_component(FGSBIR_NVCC "$ENV{CUDACXX}" PROGRAM PROGRAM_ARGS options)
    separate_arguments(options NATIVE_COMMAND "${options}")
    if(FGSBIR_NVCC)
      list(APPEND FGSBIR_NVCC ${options})
    else()
      set(FGSBIR_NVCC $ENV{CUDACXX})
    endif()
  else()
    find_program(FGSBIR_NVCC nvcc
      HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda /opt/cuda PATH_SUFFIXES bin NO_CACHE)
  endif()
  if(NOT FGSBIR_NVCC)
    fgsbir_go_without_cuda("no CUDA compiler was found: put nvcc on PATH or set CUDA_HOME")
  else()
    fgsbir_try_nvcc("${FGSBIR_NVCC}" error)
    if(error)
      fgsbir_go_without_cuda("${error}")
      if(FGSBIR_WHY_NO_CUDA)
        message(WARNING "fgsbir_ext: no CUDA kernels, since ${error}. With FGSBIR_CUDA=ON that is an error, with OFF no compiler is tried.")
      endif()
    else()
      if("$ENV{CUDACXX}" STREQUAL "")
        set(CMAKE_CUDA_COMPILER ${FGSBIR_NVCC})
      endif()
      # Unless some are asked for; before the language is enabled, since CMake keeps its own default in its
      # cache, where it would look as if asked for.
      if(NOT CMAKE_CUDA_ARCHITECTURES AND "$ENV{CUDAARCHS}" STREQUAL "")
        set(CMAKE_CUDA_ARCHITECTURES all-major)
        set(FGSBIR_PREFERS_NATIVE ON)
      endif()
      enable_language(CUDA)
      find_package(CUDAToolkit REQUIRED)
      if(FGSBIR_PREFERS_NATIVE)
        fgsbir_prefer_native(CMAKE_CUDA_ARCHITECTURES)
      endif()
    endif()
  endif()
endif()

if(NOT FGSBIR_WHY_NO_CUDA)
  set(CMAKE_CUDA_STANDARD 17)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  file(GLOB FGSBIR_CUDA_SOURCES RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} CONFIGURE_DEPENDS csrc/cuda/*.cu)
  # Those that take longest to compile come first.
  list(PREPEND FGSBIR_CUDA_SOURCES
    csrc/cuda/mine_batch_hard.cu csrc/cuda/topk.cu csrc/cuda/pairwise_distance.cu
    csrc/cuda/attribute_triplet_loss_backward.cu)
  list(APPEND FGSBIR_CUDA_SOURCES csrc/bindings_cuda.cpp)
  list(REMOVE_DUPLICATES FGSBIR_CUDA_SOURCES)
  set(FGSBIR_CUDA_DEFINITIONS FGSBIR_WITH_CUDA)
  set(FGSBIR_CUDA_LIBRARIES CUDA::cudart_static)
  set(FGSBIR_CUDA_TOOLKIT ${CMAKE_CUDA_COMPILER_VERSION})
  fgsbir_with_warpgroups(CMAKE_CUDA_ARCHITECTURES)
  list(JOIN CMAKE_CUDA_ARCHITECTURES "," FGSBIR_CUDA_ARCHITECTURES)
  message(STATUS "fgsbir_ext: CUDA kernels with ${CMAKE_CUDA_COMPILER} (${FGSBIR_CUDA_TOOLKIT}) for ${FGSBIR_CUDA_ARCHITECTURES}")
else()
  message(STATUS "fgsbir_ext: the C++ kernels alone: ${FGSBIR_WHY_NO_CUDA}")
endif()
