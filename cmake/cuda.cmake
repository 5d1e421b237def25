# Decides whether the CUDA kernels are built, and for which architectures.
#
# Sets FGSBIR_CUDA_SOURCES, _DEFINITIONS, _LIBRARIES, _ARCHITECTURES and _TOOLKIT: all empty without CUDA.

set(FGSBIR_CUDA_SOURCES)
set(FGSBIR_CUDA_DEFINITIONS)
set(FGSBIR_CUDA_LIBRARIES)
set(FGSBIR_CUDA_ARCHITECTURES "")
set(FGSBIR_CUDA_TOOLKIT "")

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
    # As nvcc has them: CMake's own list may be older than the toolkit.
    execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch
      OUTPUT_VARIABLE known COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX MATCHALL "[0-9]+" known "${known}")
    list(SORT known COMPARE NATURAL)
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

if(NOT FGSBIR_CUDA STREQUAL "OFF")
  # A toolkit off PATH counts too: CUDACXX and CUDA_HOME first, then the usual place.
  if(NOT DEFINED CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    find_program(FGSBIR_NVCC nvcc
      HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda /opt/cuda PATH_SUFFIXES bin)
    if(FGSBIR_NVCC)
      set(CMAKE_CUDA_COMPILER ${FGSBIR_NVCC})
    endif()
  endif()
  # From Turing on: every major architecture the toolkit knows (CUDAARCHS overrides).
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
    set(CMAKE_CUDA_ARCHITECTURES all-major)
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    find_package(CUDAToolkit REQUIRED)
  elseif(FGSBIR_CUDA STREQUAL "ON")
    message(FATAL_ERROR "FGSBIR_CUDA is ON, but no CUDA compiler was found: put nvcc on PATH or set CUDA_HOME")
  endif()
endif()

if(CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_STANDARD 17)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  file(GLOB FGSBIR_CUDA_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/csrc/cuda/*.cu)
  list(APPEND FGSBIR_CUDA_SOURCES csrc/bindings_cuda.cpp)
  set(FGSBIR_CUDA_DEFINITIONS FGSBIR_WITH_CUDA)
  set(FGSBIR_CUDA_LIBRARIES CUDA::cudart_static)
  set(FGSBIR_CUDA_TOOLKIT ${CMAKE_CUDA_COMPILER_VERSION})
  fgsbir_with_warpgroups(CMAKE_CUDA_ARCHITECTURES)
  list(JOIN CMAKE_CUDA_ARCHITECTURES "," FGSBIR_CUDA_ARCHITECTURES)  # a definition cannot hold a list
  message(STATUS "fgsbir_ext: CUDA kernels with ${CMAKE_CUDA_COMPILER} (${FGSBIR_CUDA_TOOLKIT}) for ${FGSBIR_CUDA_ARCHITECTURES}")
else()
  message(STATUS "fgsbir_ext: no CUDA toolkit (or FGSBIR_CUDA=OFF): the C++ kernels alone")
endif()
